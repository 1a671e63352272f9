//! `gavel prefer`: of several responses to each question, the pair to learn from.

use judge::{Candidates, Judge, Pick, Reward, RewardOptions, RubricChoice};
use serde_json::{Value, json};

use super::{Outcome, Row, run};
use crate::{
    boot,
    command::{PairForm, PreferOptions},
    error::{ApiError, Dialect},
    serve,
};

/// Rows that are judged at once. Each has many comparisons; the second one begins while the last of the first come in.
const AT_A_TIME: usize = 2;

/// Makes a pair of every row.
pub(crate) async fn prefer(options: PreferOptions) -> anyhow::Result<()> {
    let PreferOptions { critic, engine, files, form, method, rubric, least_margin } = options;
    let config = serve::engine_config(&engine);
    let (judge, _) = tokio::task::spawn_blocking(move || boot::start(&critic, config)).await??;
    let rewarding = RewardOptions {
        method: method.into(),
        rubric: rubric.map_or(RubricChoice::Default, RubricChoice::Named),
        ..RewardOptions::default()
    };
    let make = |row: Row| {
        let (judge, rewarding) = (&judge, &rewarding);
        async move {
            match reward(judge, &row, rewarding).await {
                Ok(reward) => match reward.pick.filter(|pick| pick.margin >= least_margin) {
                    Some(pick) => Outcome::Done(pair(&row, form, (&reward, pick))),
                    None => Outcome::LeftOut(
                        json!({ "id": row.id, "rewards": reward.rewards, "undecided": true }),
                    ),
                },
                Err((code, message)) => {
                    Outcome::LeftOut(json!({ "id": row.id, "error": { "code": code, "message": message } }))
                }
            }
        }
    };
    let done = run(&files, AT_A_TIME, make).await?;
    let margins: Vec<f64> = done.done.iter().filter_map(|line| line["margin"].as_f64()).collect();
    let mean = margins.iter().sum::<f64>() / margins.len().max(1) as f64;
    done.summarise(&[("mean margin", format!("{mean:.3}"))])
}

async fn reward(judge: &Judge, row: &Row, options: &RewardOptions) -> Result<Reward, (&'static str, String)> {
    let case = row.case().map_err(|error| ("invalid_request", format!("{error:#}")))?;
    let candidates = Candidates { case, responses: row.responses.clone() };
    judge.reward(&candidates, options).await.map_err(|error| {
        let error = ApiError::from_judge(error, Dialect::Native);
        (error.code(), error.message().to_owned())
    })
}

/// The pair in the form that a trainer reads, with its margin and all rewards beside it.
fn pair(row: &Row, form: PairForm, (reward, pick): (&Reward, Pick)) -> Value {
    let [chosen, rejected] = [pick.chosen, pick.rejected].map(|index| row.responses[index].as_str());
    match form {
        PairForm::Trl => {
            let text = |text: &str| json!({ "type": "text", "text": text });
            let pictures = row.images.iter().map(|_| json!({ "type": "image" }));
            let content: Vec<Value> = pictures.chain([text(&row.question)]).collect();
            json!({
                "id": row.id,
                "images": row.images,
                "prompt": [{ "role": "user", "content": content }],
                "chosen": [{ "role": "assistant", "content": [text(chosen)] }],
                "rejected": [{ "role": "assistant", "content": [text(rejected)] }],
                "margin": pick.margin,
                "rewards": reward.rewards,
            })
        }
        PairForm::LlavaNext => json!({
            "id": row.id,
            "image": row.images.first(),
            "prompt": row.question,
            "chosen": chosen,
            "rejected": rejected,
            "margin": pick.margin,
            "rewards": reward.rewards,
        }),
    }
}
