//! System texts that chat templates write by themselves. Nobody asked the policy them, so that they are no part of the
//! question.

/// The texts that templates write as the system's when a conversation has none, and those before the first turn in
/// formats without a system, all without their last full stop, which some templates leave out.
const DEFAULTS: &[&str] = &[
    // Qwen 1.5, Qwen 2, Qwen2-VL, Qwen2.5-VL, LLaVA-OneVision, Kimi-VL.
    "You are a helpful assistant",
    // Qwen 2.5.
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant",
    // Qwen2.5-Omni.
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and visual \
     inputs, as well as generating text and speech",
    // QwQ and QVQ, as previews.
    "You are a helpful and harmless assistant. You are Qwen developed by Alibaba. You should think step-by-step",
    // SmolLM 2.
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
    // InternVL 2, and from 2.5 on.
    "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手",
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型",
    // DeepSeek-VL, Janus, and LLaVA with Llama 2.
    "You are a helpful language and vision assistant. You are able to understand the visual content that the user \
     provides, and assist the user with a variety of tasks using natural language",
    // Vicuna and LLaVA 1.5, and the first LLaVA.
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and \
     polite answers to the user's questions",
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, \
     and polite answers to the human's questions",
    // Alpaca.
    "Below is an instruction that describes a task. Write a response that appropriately completes the request",
];

/// The system text that a template with the dates of Llama 3 was given. Without one, it is empty.
fn behind_dates(text: &str) -> Option<&str> {
    let (_, rest) = text.strip_prefix("Cutting Knowledge Date: ")?.split_once('\n')?;
    let rest = rest.strip_prefix("Today Date: ")?;
    Some(rest.split_once('\n').map_or("", |(_, rest)| rest.trim_start()))
}

/// Whether a text is the system message of gpt-oss, which has its name, dates and channels. Instructions are in the
/// developer's message.
fn is_of_gpt_oss(text: &str) -> bool {
    text.starts_with("You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: ")
        && text.ends_with("Channel must be included for every message.")
}

/// A system text without what its template wrote; empty if that is all.
pub(super) fn without_defaults(text: &str) -> &str {
    let text = behind_dates(text).unwrap_or(text);
    let sentence = text.trim_end_matches(['.', '。']);
    if DEFAULTS.contains(&sentence) || is_of_gpt_oss(text) { "" } else { text }
}

#[cfg(test)]
mod tests {
    use super::without_defaults;

    #[test]
    fn only_what_a_template_wrote_is_left_out() {
        const DATES: &str = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024";
        let of_gpt_oss = "You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: 2024-06\n\
                          Current date: 2025-08-05\n\nReasoning: medium\n\n# Valid channels: analysis, commentary, \
                          final. Channel must be included for every message.";
        for text in [
            "You are a helpful assistant.",
            "You are a helpful assistant",
            "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
            "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。",
            DATES,
            &format!("{DATES}\n\nYou are a helpful assistant."),
            of_gpt_oss,
        ] {
            assert_eq!(without_defaults(text), "", "{text}");
        }
        let asked = "You are a helpful assistant. Be brief.";
        assert_eq!(without_defaults(&format!("{DATES}\n\n{asked}")), asked);
        for text in [
            asked,
            "You are a pirate.",
            "Cutting Knowledge Date: December 2023",
            "Today Date: 26 Jul 2024",
            &of_gpt_oss.replace("every message.", "every message. Be brief."),
            "",
        ] {
            assert_eq!(without_defaults(text), text);
        }
    }
}
