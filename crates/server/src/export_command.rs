//! `gavel export`: a training set in LLaVA-Critic's form, made of a judging log.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use judge::{Case, Part, Profile, Responses, Role, Rubric, RubricLibrary, Scale};
use serde_json::{Value, json};

use crate::{
    boot,
    command::ExportOptions,
    json_line,
    judging_log::{Line, digest_of},
    output::output,
};

/// The profile whose words the training set is in.
const PROFILE: &str = "llava-critic";

/// Writes the training set.
pub(crate) fn export(options: &ExportOptions) -> anyhow::Result<()> {
    let library = boot::library(options.config_dir.as_deref())?;
    let folder = options.output.parent().unwrap_or(Path::new(""));
    let images = options.images.clone().unwrap_or_else(|| folder.join("images"));
    let images = if options.embed { Images::Embedded } else { Images::Folder(images, folder.to_path_buf()) };
    // Of verdicts on the same prompt the last one counts.
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for log in &options.logs {
        let file = fs::File::open(log).with_context(|| format!("{} cannot be read", log.display()))?;
        for (index, text) in BufReader::new(file).lines().enumerate() {
            let place = || format!("line {} of {}", index + 1, log.display());
            let line: Line = json_line::read(&text.with_context(place)?, (index + 1, log))?;
            lines.insert(line.prompt_digest.clone(), line);
        }
    }
    let mut rows = Vec::new();
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines.values() {
        match row(line, &library, &images) {
            Ok(row) => rows.push(row),
            Err(reason) => *left_out.entry(format!("{reason:#}")).or_default() += 1,
        }
    }
    let text = serde_json::to_string_pretty(&rows)? + "\n";
    fs::write(&options.output, text)
        .with_context(|| format!("{} cannot be written", options.output.display()))?;
    let mut output = output();
    writeln!(output, "{} examples in {}", rows.len(), options.output.display())?;
    for (reason, count) in left_out {
        writeln!(output, "{count} verdicts left out: {reason}")?;
    }
    Ok(())
}

/// Where images go.
enum Images {
    Embedded,
    /// A folder, and where paths in the set begin.
    Folder(PathBuf, PathBuf),
}

impl Images {
    /// Keeps an image and tells what the set has for it. A file is called by its content, so that equal ones are one.
    fn keep(&self, name: &str, image: &str) -> anyhow::Result<String> {
        let bytes = BASE64_STANDARD.decode(image).context("an image cannot be read")?;
        let kind = match &bytes[..] {
            [0x89, b'P', b'N', b'G', ..] => "png",
            [0xff, 0xd8, ..] => "jpeg",
            [b'G', b'I', b'F', ..] => "gif",
            [b'R', b'I', b'F', b'F', ..] => "webp",
            [b'B', b'M', ..] => "bmp",
            _ => bail!("an image is of no kind that is known"),
        };
        match self {
            Self::Embedded => Ok(format!("data:image/{kind};base64,{image}")),
            Self::Folder(folder, base) => {
                fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
                let path = folder.join(format!("{name}.{kind}"));
                fs::write(&path, bytes).with_context(|| format!("{} cannot be written", path.display()))?;
                Ok(path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into_owned())
            }
        }
    }
}

/// A verdict as an example: what the critic is asked in LLaVA-Critic's words, and what it answers.
fn row(line: &Line, library: &RubricLibrary, images: &Images) -> anyhow::Result<Value> {
    let Line { case, verdict, .. } = line;
    let texts = case.responses.iter().chain([&case.question]);
    ensure!(
        texts.filter_map(|text| digest_of(text)).next().is_none(),
        "their texts were left out of the log"
    );
    ensure!(
        case.images.iter().all(|image| digest_of(image).is_none()),
        "their images were left out of the log"
    );
    ensure!(case.frames.is_empty(), "they are about videos");
    let responses = match &case.responses[..] {
        [one] => Responses::One(one.clone()),
        [first, second] => Responses::Pair(first.clone(), second.clone()),
        _ => bail!("they have neither one response nor two"),
    };
    let judged = Case {
        reference: case.reference.clone(),
        description: case.description.clone(),
        ..Case::new(&case.question, responses)
    };
    let rubric = rubric(line, &judged, library)?;
    let prompt = prompt(library.profile_for(PROFILE), &judged, &rubric)?;
    let digest = digest_of(&line.prompt_digest).unwrap_or(&line.prompt_digest);
    let images = (case.images.iter().enumerate())
        .map(|(index, image)| images.keep(&format!("{digest}-{index}"), image))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut row = json!({
        "id": digest,
        "source": format!("gavel/{}", line.model),
        "conversations": [
            { "from": "human", "value": format!("{}{prompt}", "<image>\n".repeat(images.len())) },
            { "from": "gpt", "value": answer(verdict)? },
        ],
    });
    match &images[..] {
        [] => {}
        [one] => row["image"] = one.as_str().into(),
        many => row["image"] = json!(many),
    }
    Ok(row)
}

/// The rubric of a line, asked for in the critic's own form.
fn rubric(line: &Line, case: &Case, library: &RubricLibrary) -> anyhow::Result<Rubric> {
    let scale = serde_json::from_value::<Option<Scale>>(line.verdict["scale"].clone()).ok().flatten();
    let rubric = match &line.rubric.criteria {
        Some(criteria) => Rubric::inline(case.kind(), criteria.clone(), scale)?,
        None => library.rubric(&line.rubric.name)?.clone(),
    };
    Ok(Rubric { answer: None, scale: scale.or(rubric.scale), ..rubric })
}

fn prompt(profile: &Profile, case: &Case, rubric: &Rubric) -> anyhow::Result<String> {
    let format = profile.format(rubric, None)?;
    let prompt = profile.render(case, rubric, format)?;
    // A row has no system text: whoever trains adds that of the chat format.
    let turns = prompt.messages.into_iter().filter(|message| message.role != Role::System);
    let parts = turns.flat_map(|message| message.parts);
    let texts = parts.filter_map(|part| match part {
        Part::Text(text) => Some(text),
        Part::Image(_) | Part::Video(_) => None,
    });
    Ok(texts.collect())
}

/// The verdict in the forms that LLaVA-Critic writes, with its reasons.
fn answer(verdict: &Value) -> anyhow::Result<String> {
    let reasons = verdict["justification"].as_str().unwrap_or_default();
    let said = match (verdict["score"].as_f64(), verdict["preference"].as_str()) {
        (Some(score), _) => format!("Score: [{score}]"),
        (None, Some("tie")) => "Two responses are equally good.".to_owned(),
        (None, Some(better @ ("first" | "second"))) => format!("The better response: [{better}]"),
        (None, _) => bail!("their verdict is neither a score nor a preference"),
    };
    Ok(if reasons.is_empty() { said } else { format!("{said}\n{reasons}") })
}
