//! The service itself: one critic, its engine, and the rubrics it judges by.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, PoisonError, RwLock},
};

use critic::{Critic, Encoded, GenerationDefaults, Processor, ProcessorFigures, Prompt, SamplingParams};
use engine::{Engine, EngineError, Labels, Observer, Part, Request, Stats, Unobserved};
use rubric::{Case, Kind, Profile, Rubric, RubricError, RubricLibrary, Scale};
use tokio::sync::Semaphore;

use crate::{
    Caller, CompletionParams, CompletionStream, JudgeError, VerdictStream,
    reply::{Mode, Plan, ReplyPart},
};

/// By which rubric a request is judged.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum RubricChoice {
    /// The critic's own default for the number of responses.
    #[default]
    Default,
    /// A rubric of the library.
    Named(String),
    /// Criteria that the request brings along, with a scale when one response is scored.
    Inline {
        /// What to look at.
        criteria: String,
        /// The scores.
        scale: Option<Scale>,
    },
}

/// Choices of a judgement. It is greedy always: the same case gets the same verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgeOptions {
    /// Tokens of reasons to write at most.
    pub max_tokens: usize,
    /// Name of the critic's prompt format; its first one for the kind of judgement when absent.
    pub format: Option<String>,
    /// In which order verdict and reasons come.
    pub mode: Mode,
    /// Whether the probability of every possible verdict is read. It is in any case when the verdict is read from the
    /// logits alone.
    pub distribution: bool,
    /// For whom it is judged.
    pub caller: Caller,
}

impl Default for JudgeOptions {
    fn default() -> Self {
        Self {
            max_tokens: 512,
            format: None,
            mode: Mode::default(),
            distribution: false,
            caller: Caller::default(),
        }
    }
}

/// A critic that is ready to judge. Clones are handles to the same one.
#[derive(Clone)]
pub struct Judge {
    parts: Arc<Parts>,
}

struct Parts {
    model: String,
    processor: Arc<dyn Processor>,
    generation: GenerationDefaults,
    engine: Engine,
    /// Replaced as a whole. The lock is held only to copy or to put the pointer, so that a judgement that runs goes on with
    /// the rules that it began with.
    rules: RwLock<Arc<Rules>>,
    /// One permit for each core: decoding pictures is bound by the CPU, and more of them at a time would only
    /// multiply the memory that they take.
    encoders: Arc<Semaphore>,
}

/// The rubrics, and how this critic is asked.
#[derive(Debug)]
pub struct Rules {
    library: RubricLibrary,
    profile: Profile,
}

impl Rules {
    fn new(library: RubricLibrary, model: &str) -> Self {
        let profile = library.profile_for(model).clone();
        Self { library, profile }
    }

    /// The rubrics.
    pub fn library(&self) -> &RubricLibrary {
        &self.library
    }

    /// Name of the rubric for a request that names none.
    pub fn default_rubric(&self, kind: Kind) -> &str {
        self.profile.default_rubric(kind)
    }

    fn rubric(&self, kind: Kind, choice: RubricChoice) -> Result<Rubric, RubricError> {
        match choice {
            RubricChoice::Default => self.library.rubric(self.default_rubric(kind)).cloned(),
            RubricChoice::Named(name) => self.library.rubric(&name).cloned(),
            RubricChoice::Inline { criteria, scale } => Rubric::inline(kind, criteria, scale),
        }
    }
}

impl Judge {
    /// Starts the engine of `critic`; `model` is the name of its checkpoint, which chooses the profile.
    pub fn new(model: String, critic: Critic, library: RubricLibrary, config: engine::Config) -> Self {
        Self::observed(model, critic, library, config, Arc::new(Unobserved))
    }

    /// The same, with an engine that `observer` watches.
    pub fn observed(
        model: String,
        critic: Critic,
        library: RubricLibrary,
        config: engine::Config,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let rules = RwLock::new(Arc::new(Rules::new(library, &model)));
        let encoders = Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));
        let Critic { processor, backend, generation } = critic;
        let engine = Engine::observed(backend, config, observer);
        Self { parts: Arc::new(Parts { model, processor, generation, engine, rules, encoders }) }
    }

    /// Name of the checkpoint.
    pub fn model(&self) -> &str {
        &self.parts.model
    }

    /// The rules that hold now.
    pub fn rules(&self) -> Arc<Rules> {
        // A writer cannot leave a half-written pointer behind.
        self.parts.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts rubrics and profiles in the place of all that were known. What is judged already is judged by the old ones.
    pub fn replace_library(&self, library: RubricLibrary) {
        let rules = Arc::new(Rules::new(library, &self.parts.model));
        *self.parts.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Figures of the engine.
    pub fn stats(&self) -> Stats {
        self.parts.engine.stats()
    }

    /// Figures of what turns prompts into tokens and tiles.
    pub fn processor_figures(&self) -> ProcessorFigures {
        self.parts.processor.figures()
    }

    /// Waits until the engine has stopped because the model's code panicked.
    pub async fn stopped(&self) {
        self.parts.engine.stopped().await;
    }

    /// The most tokens that a prompt and its output may have together.
    pub fn context_length(&self) -> usize {
        self.parts.engine.capacity()
    }

    /// Starts judging `case`. Dropping the stream cancels the work.
    ///
    /// # Errors
    /// [`JudgeError`] when the rubric does not fit, the prompt cannot be encoded or the engine does not take it.
    pub async fn judge(
        &self,
        case: Case,
        choice: RubricChoice,
        options: JudgeOptions,
    ) -> Result<VerdictStream, JudgeError> {
        case.check()?;
        let rules = self.rules();
        let rubric = rules.rubric(case.kind(), choice)?;
        let format = rules.profile.format(&rubric, options.format.as_deref())?;
        let prompt = rules.profile.render(&case, &rubric, format)?;
        let Plan { reply, script, reader } =
            Plan::new(format, &rubric, (options.mode, options.distribution))?;
        let prompt = Prompt { reply, ..prompt };
        let encoded = self.encode(prompt).await?;
        let params = CompletionParams {
            script,
            caller: options.caller,
            ..CompletionParams::greedy(options.max_tokens)
        };
        let completion = self.submit(encoded, &params, 0).map_err(|error| match error {
            JudgeError::Texts(source) => JudgeError::Labels { rubric: rubric.name.clone(), source },
            other => other,
        })?;
        Ok(VerdictStream::new(completion, reader, rubric))
    }

    /// Starts writing `count` texts that continue `prompt`, each with random numbers of its own.
    ///
    /// # Errors
    /// [`JudgeError`] when the prompt cannot be encoded or the engine does not take all of them.
    pub async fn complete(
        &self,
        prompt: Prompt,
        params: &CompletionParams,
        count: usize,
    ) -> Result<Vec<CompletionStream>, JudgeError> {
        let encoded = self.encode(prompt).await?;
        let start = params.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        (0..count as u64)
            .map(|index| self.submit(encoded.clone(), params, start.wrapping_add(index)))
            .collect()
    }

    /// Tells in advance what would be wrong with every judgement of this kind.
    pub(crate) fn check(
        &self,
        kind: Kind,
        choice: RubricChoice,
        format: Option<&str>,
    ) -> Result<(), RubricError> {
        let rules = self.rules();
        let rubric = rules.rubric(kind, choice)?;
        rules.profile.format(&rubric, format)?;
        if rubric.kind == kind {
            Ok(())
        } else {
            Err(RubricError::WrongKind { rubric: rubric.name, rubric_kind: rubric.kind, case_kind: kind })
        }
    }

    /// Encodes on a thread for blocking work, as pictures take long.
    async fn encode(&self, prompt: Prompt) -> Result<Encoded, JudgeError> {
        let permit = self.parts.encoders.clone().acquire_owned().await.map_err(|_| EngineError::Stopped)?;
        let processor = self.parts.processor.clone();
        let work = tokio::task::spawn_blocking(move || {
            let encoded = processor.encode(&prompt);
            drop(permit); // held by the work itself, which goes on when the client leaves
            encoded
        });
        match work.await {
            Ok(encoded) => Ok(encoded?),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_cancelled) => Err(EngineError::Stopped.into()),
            },
        }
    }

    fn submit(
        &self,
        encoded: Encoded,
        params: &CompletionParams,
        seed: u64,
    ) -> Result<CompletionStream, JudgeError> {
        let Parts { generation, engine, processor, .. } = &*self.parts;
        let (tokens, limit) = (encoded.tokens.len(), engine.capacity());
        if tokens >= limit {
            return Err(EngineError::TooLong { tokens, limit }.into());
        }
        let sampling = SamplingParams {
            temperature: params.temperature,
            top_p: params.top_p,
            top_k: params.top_k,
            repetition_penalty: params.repetition_penalty.unwrap_or(generation.repetition_penalty),
            seed,
            top_logprobs: params.top_logprobs.unwrap_or(0),
        };
        let request = Request {
            script: self.script(params, limit - tokens)?,
            encoded,
            sampling,
            end_tokens: if params.ignore_end { Vec::new() } else { generation.end_tokens.clone() },
            tenant: params.caller.tenant.clone(),
            deadline: params.caller.deadline,
        };
        Ok(CompletionStream::new(engine.submit(request)?, processor.clone(), tokens, params))
    }

    /// The pieces of a reply as tokens. What is left of `room` by the others bounds the text.
    fn script(&self, params: &CompletionParams, room: usize) -> Result<Vec<Part>, JudgeError> {
        let tokenize = |text: &String| self.parts.processor.tokenize(text);
        let mut parts = Vec::with_capacity(params.script.len());
        for part in &params.script {
            parts.push(match part {
                ReplyPart::Write => Part::Write(0),
                ReplyPart::Say(text) => Part::Say(tokenize(text)?),
                ReplyPart::Choose { texts, distribution } => {
                    let texts = texts.iter().map(tokenize).collect::<Result<Vec<_>, _>>()?;
                    Part::Choose { labels: Labels::new(texts)?, distribution: *distribution }
                }
                ReplyPart::ChooseTokens(tokens) => {
                    let size = self.parts.processor.vocabulary();
                    if let Some(token) = tokens.iter().find(|token| token.0 as usize >= size) {
                        return Err(JudgeError::UnknownToken { token: token.0, vocabulary: size });
                    }
                    let labels = Labels::new(tokens.iter().map(|token| vec![*token]).collect())?;
                    Part::Choose { labels, distribution: true }
                }
            });
        }
        let room = room.saturating_sub(parts.iter().map(Part::max_tokens).sum());
        for part in &mut parts {
            if let Part::Write(most) = part {
                *most = params.max_tokens.clamp(1, room.max(1));
            }
        }
        Ok(parts)
    }
}
