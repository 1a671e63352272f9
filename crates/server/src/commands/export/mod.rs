//! `gavel export`: makes a training set in LLaVA-Critic's form from judging logs.

mod answer;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use judge::{Case, Format, Part, Profile, Responses, Role, Rubric, RubricLibrary, Scale};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    boot,
    hexadecimal::hexadecimal,
    images,
    json::line,
    judging_log::{Line, digest_of},
    options::ExportOptions,
    process::stdout::stdout,
};

/// The profile whose wording the training set has.
const PROFILE: &str = "llava-critic";

/// Writes the training set.
pub(crate) fn export(options: &ExportOptions) -> anyhow::Result<()> {
    let library = boot::library(options.config_dir.as_deref())?;
    let folder = options.output.parent().unwrap_or(Path::new(""));
    let images = options.images.clone().unwrap_or_else(|| folder.join("images"));
    let images = if options.embed { Images::Embedded } else { Images::Folder(images, folder.to_path_buf()) };
    // A later verdict on the same prompt replaces an earlier one, unless only that has reasons.
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for log in &options.logs {
        let file = fs::File::open(log).with_context(|| format!("{} cannot be read", log.display()))?;
        for (index, text) in BufReader::new(file).lines().enumerate() {
            let place = || format!("line {} of {}", index + 1, log.display());
            let line: Line = line::read(&text.with_context(place)?, (index + 1, log))?;
            if has_reasons(&line) || !lines.get(&line.prompt_digest).is_some_and(has_reasons) {
                lines.insert(line.prompt_digest.clone(), line);
            }
        }
    }
    let (mut rows, mut without_reasons) = (Vec::new(), 0);
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines.values() {
        match row(line, &library, &images) {
            Ok(row) => {
                rows.push(row);
                without_reasons += usize::from(!has_reasons(line));
            }
            Err(reason) => *left_out.entry(format!("{reason:#}")).or_default() += 1,
        }
    }
    let text = serde_json::to_string_pretty(&rows)? + "\n";
    fs::write(&options.output, text)
        .with_context(|| format!("{} cannot be written", options.output.display()))?;
    let mut output = stdout();
    writeln!(output, "{} examples in {}", rows.len(), options.output.display())?;
    if without_reasons > 0 {
        writeln!(output, "{without_reasons} of them have no reasons: their verdicts were asked for without")?;
    }
    for (reason, count) in left_out {
        writeln!(output, "{count} verdicts left out: {reason}")?;
    }
    Ok(())
}

/// Whether a verdict of the log has reasons.
fn has_reasons(line: &Line) -> bool {
    line.verdict["justification"].as_str().is_some_and(|text| !text.is_empty())
}

/// Where the images of the set are stored.
enum Images {
    Embedded,
    /// In a folder; the second path is the base of the relative paths in the set.
    Folder(PathBuf, PathBuf),
}

impl Images {
    /// Stores an image, given in base64; returns what the set has for it: a data URL, or the path of a file that is
    /// named by the SHA-256 of its content, so that equal images are one file.
    fn keep(&self, image: &str) -> anyhow::Result<String> {
        let bytes = BASE64_STANDARD.decode(image).context("an image cannot be read")?;
        let format = images::format_of(&bytes).context("an image is of no kind that is known")?.as_str();
        match self {
            Self::Embedded => Ok(format!("data:image/{format};base64,{image}")),
            Self::Folder(folder, base) => {
                fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
                let name = hexadecimal(&Sha256::digest(&bytes));
                let path = folder.join(format!("{name}.{format}"));
                fs::write(&path, bytes).with_context(|| format!("{} cannot be written", path.display()))?;
                Ok(path.strip_prefix(base).unwrap_or(&path).to_string_lossy().into_owned())
            }
        }
    }
}

/// A verdict as a training example: the prompt in LLaVA-Critic's words, and the answer in the form that these ask for.
///
/// # Errors
/// The reason why the verdict is left out of the set.
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
    answer::check(verdict, &rubric)?;
    let profile = library.profile_for(PROFILE);
    let format = profile.format(&rubric, None)?;
    let answer = answer::answer(verdict, format.answer(&rubric), rubric.direction)?;
    let prompt = prompt(profile, (&judged, &rubric), format)?;
    let digest = digest_of(&line.prompt_digest).unwrap_or(&line.prompt_digest);
    let images = case.images.iter().map(|image| images.keep(image)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut row = json!({
        "id": digest,
        "source": format!("gavel/{}", line.model),
        "conversations": [
            { "from": "human", "value": format!("{}{prompt}", "<image>\n".repeat(images.len())) },
            { "from": "gpt", "value": answer },
        ],
    });
    match &images[..] {
        [] => {}
        [one] => row["image"] = one.as_str().into(),
        many => row["image"] = json!(many),
    }
    Ok(row)
}

/// The rubric of a line, with the scale of its verdict. It keeps its answer form and direction, so that the row asks
/// for what the score means.
fn rubric(line: &Line, case: &Case, library: &RubricLibrary) -> anyhow::Result<Rubric> {
    let scale = scale(&line.verdict);
    let rubric = match &line.rubric.criteria {
        Some(criteria) => Rubric::inline(case.kind(), criteria.clone(), scale)?,
        None => library.rubric(&line.rubric.name)?.clone(),
    };
    Ok(Rubric { scale: scale.or(rubric.scale), ..rubric })
}

/// The scale of a verdict, if it has one.
fn scale(verdict: &Value) -> Option<Scale> {
    let mut scale = verdict["scale"].as_object()?.clone();
    // This one is in the rubric.
    scale.remove("direction");
    serde_json::from_value(Value::Object(scale)).ok()
}

fn prompt(profile: &Profile, (case, rubric): (&Case, &Rubric), format: &Format) -> anyhow::Result<String> {
    let prompt = profile.render(case, rubric, format)?;
    // A row has no system message: the training code adds that of the chat format.
    let turns = prompt.messages.into_iter().filter(|message| message.role != Role::System);
    let parts = turns.flat_map(|message| message.parts);
    let texts = parts.filter_map(|part| match part {
        Part::Text(text) => Some(text),
        Part::Image(_) | Part::Video(_) => None,
    });
    Ok(texts.collect())
}
