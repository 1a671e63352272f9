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

use crate::{
    boot,
    commands::{image_folder::ImageFolder, input_files::check_kept},
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
    check_kept(options.logs.iter().map(PathBuf::as_path), [options.output.as_path()])?;
    let library = boot::library(options.config_dir.as_deref())?;
    let folder = options.output.parent().unwrap_or(Path::new(""));
    let images = ImageFolder::beside(folder, options.images.clone());
    let images = if options.embed { Images::Embedded } else { Images::Files(images) };
    // A later verdict on the same prompt replaces an earlier one, unless only that has whole reasons.
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for log in &options.logs {
        read(log, |line| {
            if has_reasons(&line) || !lines.get(&line.prompt_digest).is_some_and(has_reasons) {
                lines.insert(line.prompt_digest.clone(), line);
            }
        })?;
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

/// Passes the lines of a log to `take`, without one at its end that a server has not written completely.
///
/// # Errors
/// If the log cannot be read, or another line is none of a log.
fn read(log: &Path, mut take: impl FnMut(Line)) -> anyhow::Result<()> {
    let file = fs::File::open(log).with_context(|| format!("{} cannot be read", log.display()))?;
    let mut source = BufReader::new(file);
    for number in 1.. {
        let place = || format!("line {number} of {}", log.display());
        let mut bytes = Vec::new();
        if source.read_until(b'\n', &mut bytes).with_context(place)? == 0 {
            break;
        }
        let text = str::from_utf8(&bytes).with_context(place);
        match text.and_then(|text| line::read(text.trim_end_matches('\n'), (number, log))) {
            Ok(line) => take(line),
            Err(_) if !bytes.ends_with(b"\n") => {
                tracing::warn!("the last line of {} is not complete and is left out", log.display());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether a verdict of the log has reasons that were not cut.
fn has_reasons(line: &Line) -> bool {
    let is_written = line.verdict["justification"].as_str().is_some_and(|text| !text.is_empty());
    is_written && !answer::is_cut(&line.verdict)
}

/// Where the images of the set are stored.
enum Images {
    Embedded,
    Files(ImageFolder),
}

impl Images {
    /// Stores an image, given in base64; returns what the set has for it: a data URL, or the path of a file.
    fn keep(&self, image: &str) -> anyhow::Result<String> {
        let bytes = BASE64_STANDARD.decode(image).context("an image cannot be read")?;
        match self {
            Self::Embedded => {
                let format = images::format_of(&bytes).context("an image is of no kind that is known")?;
                Ok(format!("data:image/{};base64,{image}", format.as_str()))
            }
            Self::Files(folder) => folder.keep(&bytes),
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
