//! The service itself: one critic, its engine, and the rubrics it judges by.

use std::{
    hash::{BuildHasher, RandomState},
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use critic::{
    Build, Critic, EncodeError, Encoded, GenerationDefaults, Processor, ProcessorFigures, Prompt,
    SamplingParams, TokenId,
};
use engine::{
    Engine, EngineError, Guided, Labels, Observer, Part, Preparing, Request, Stats, Suspect, Unobserved,
};
use lru::LruCache;
use rubric::{Case, Kind, RubricError, RubricLibrary};
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    CompletionParams, CompletionStream, JudgeError, JudgeOptions, RubricChoice, VerdictStream, Work,
    calibrated::Priors,
    caller::{Caller, Reservation},
    completion::Charged,
    encoders::Encoders,
    grammar::{Grammars, Shape},
    memo::{Memo, MemoCounts},
    prepared::Prepared,
    reply::ReplyPart,
    rules::Rules,
    verdict_stream::flags_with,
};

/// How long work may wait for a thread before its request is refused.
const THREAD_PATIENCE: Duration = Duration::from_secs(5);

/// Lists of labels that are kept as tokens: more than the rubrics and formats of any server.
const KEPT_LABELS: NonZeroUsize = NonZeroUsize::new(256).expect("it is not 0");

/// A critic that is ready to judge. Clones are handles to the same one.
#[derive(Clone)]
pub struct Judge {
    parts: Arc<Parts>,
    /// The rules of a handle that is [`pinned`](Self::pinned).
    pinned: Option<Arc<Rules>>,
}

struct Parts {
    model: String,
    processor: Arc<dyn Processor>,
    generation: GenerationDefaults,
    engine: Engine,
    /// Replaced as a whole. The lock is held only to copy or to put the pointer, so that a judgement that runs goes on with
    /// the rules that it began with.
    rules: RwLock<Arc<Rules>>,
    /// What the critic is made of.
    build: Build,
    /// Verdicts that are remembered.
    memo: Memo,
    /// What the critic says of answers without content.
    priors: Priors,
    /// Labels of the rubrics that were used latest, as tokens: a long scale has hundreds, which need not be made again for
    /// each request. Held only to look up or to put one entry.
    labels: Mutex<LruCache<Vec<String>, Labels, RandomState>>,
    /// Shapes that replies were held to.
    grammars: Grammars,
    /// One permit for each core: decoding images is bound by the CPU, and more of them at a time would only
    /// multiply the memory that they take.
    encoders: Encoders,
}

/// What a judge is made of.
pub struct Setup {
    /// Name of the checkpoint, which chooses the profile.
    pub model: String,
    /// The critic.
    pub critic: Critic,
    /// The rubrics and profiles.
    pub library: RubricLibrary,
    /// Bounds of the engine.
    pub engine: engine::Config,
    /// Who watches the engine.
    pub observer: Arc<dyn Observer>,
    /// What earlier engines were running when they died.
    pub suspects: Vec<Suspect>,
    /// How many verdicts are remembered; 0 for none.
    pub memo_entries: usize,
}

impl Judge {
    /// Starts the engine of `critic`; `model` is the name of its checkpoint, which chooses the profile. Nobody watches, and
    /// nothing is remembered.
    pub fn new(model: String, critic: Critic, library: RubricLibrary, config: engine::Config) -> Self {
        let observer = Arc::new(Unobserved);
        Self::start(Setup {
            model,
            critic,
            library,
            engine: config,
            observer,
            suspects: Vec::new(),
            memo_entries: 0,
        })
    }

    /// Starts the engine of a critic.
    pub fn start(setup: Setup) -> Self {
        let Setup { model, critic, library, engine, observer, suspects, memo_entries } = setup;
        let rules = RwLock::new(Arc::new(Rules::new(library, &model)));
        let encoders = Encoders::new(std::thread::available_parallelism().map_or(1, usize::from));
        let Critic { processor, backend, generation, build, gpu_memory: _ } = critic;
        let engine = Engine::observed(backend, engine, observer);
        engine.remember(&suspects);
        let (memo, priors) = (Memo::new(memo_entries), Priors::default());
        let labels = Mutex::new(LruCache::with_hasher(KEPT_LABELS, RandomState::new()));
        let grammars = Grammars::default();
        let parts = Parts {
            model,
            processor,
            generation,
            engine,
            rules,
            build,
            memo,
            priors,
            labels,
            grammars,
            encoders,
        };
        Self { parts: Arc::new(parts), pinned: None }
    }

    /// A handle by which everything is judged by the rules that hold now, whatever replaces them later: for an answer that is
    /// made of several judgements.
    #[must_use]
    pub fn pinned(&self) -> Self {
        Self { parts: self.parts.clone(), pinned: Some(self.rules()) }
    }

    /// What the critic is made of.
    pub fn build(&self) -> &Build {
        &self.parts.build
    }

    /// How its checkpoint wants to generate.
    pub fn generation(&self) -> &GenerationDefaults {
        &self.parts.generation
    }

    /// Waits until the digest of the weights is known.
    pub async fn weights_known(&self) {
        let digest = self.parts.build.weights.clone();
        // It is a thread for blocking work that waits; that it was cancelled means that nobody asks any more.
        let _ = tokio::task::spawn_blocking(move || digest.wait()).await;
    }

    /// How often a verdict was remembered.
    pub fn memo_counts(&self) -> MemoCounts {
        self.parts.memo.counts()
    }

    pub(crate) fn memo(&self) -> &Memo {
        &self.parts.memo
    }

    pub(crate) fn priors(&self) -> &Priors {
        &self.parts.priors
    }

    /// Name of the checkpoint.
    pub fn model(&self) -> &str {
        &self.parts.model
    }

    /// The rules that hold now, or those of a pinned handle.
    pub fn rules(&self) -> Arc<Rules> {
        // A writer cannot leave a half-written pointer behind.
        let now = || self.parts.rules.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.pinned.clone().unwrap_or_else(now)
    }

    /// Puts rubrics and profiles in the place of all that were known. What is judged already is judged by the old ones, and so
    /// is what a pinned handle is asked.
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

    /// Ends everything that waits or runs, and all that comes later.
    pub fn give_up(&self) {
        self.parts.engine.give_up();
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
        let mut prepared = self.prepare(&case, choice, options)?;
        if let Some(foregone) = prepared.foregone() {
            return Ok(VerdictStream::remembered(foregone));
        }
        if let Some(mut known) = prepared.slot(self).and_then(|slot| slot.recall(&prepared.receipt)) {
            // What is odd may have been left out of an equal prompt.
            known.flags = flags_with(prepared.flags, known.distribution.as_ref());
            return Ok(VerdictStream::remembered(known));
        }
        let _preparing = self.prepare_for(prepared.caller())?;
        let prompt = std::mem::take(&mut prepared.prompt);
        let encoded = self.encode(prompt, prepared.caller()).await?;
        self.begin(prepared, encoded)
    }

    /// Asks the critic.
    pub(crate) fn begin(&self, prepared: Prepared, encoded: Encoded) -> Result<VerdictStream, JudgeError> {
        if let Some(foregone) = prepared.foregone() {
            return Ok(VerdictStream::remembered(foregone));
        }
        let seed = prepared.drawing.seed.unwrap_or_default();
        let completion = self.submit(encoded, &prepared.params(), seed).map_err(|error| match error {
            JudgeError::Texts(source) => JudgeError::Labels { rubric: prepared.rubric.name.clone(), source },
            other => other,
        })?;
        let slot = prepared.slot(self);
        Ok(VerdictStream::new(completion, prepared, slot))
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
        let _preparing = self.prepare_for(&params.caller)?;
        let encoded = self.encode(prompt, &params.caller).await?;
        self.submit_all(&encoded, params, count)
    }

    /// Starts `count` sequences over one prompt.
    pub(crate) fn submit_all(
        &self,
        encoded: &Encoded,
        params: &CompletionParams,
        count: usize,
    ) -> Result<Vec<CompletionStream>, JudgeError> {
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
        rules.profile().format(&rubric, format)?;
        if rubric.kind == kind {
            Ok(())
        } else {
            Err(RubricError::WrongKind { rubric: rubric.name, rubric_kind: rubric.kind, case_kind: kind })
        }
    }

    /// How many tokens the critic has: their ids are those below.
    pub fn vocabulary(&self) -> usize {
        self.parts.processor.vocabulary()
    }

    /// The rules that hold a reply to a shape, for [`ReplyPart::WriteBy`].
    ///
    /// # Errors
    /// [`JudgeError::Grammar`] when no reply can be held to it.
    pub async fn rules_for(&self, shape: Shape, caller: &Caller) -> Result<Guided, JudgeError> {
        if let Some(kept) = self.parts.grammars.kept(&shape) {
            return Ok(kept);
        }
        let (parts, runtime) = (self.parts.clone(), Handle::current());
        self.blocking(caller, move || parts.grammars.compile(&shape, parts.processor.as_ref(), runtime))
            .await?
            .map_err(Into::into)
    }

    /// Counts a request that is about to be encoded, until what is returned is dropped; one for which there will be no room is
    /// refused here, where it has cost nothing.
    ///
    /// # Errors
    /// [`JudgeError::Engine`] when the waiting line, or the caller's part of it, is full.
    pub fn prepare_for(&self, caller: &Caller) -> Result<Preparing, JudgeError> {
        Ok(self.parts.engine.prepare(&caller.tenant, &caller.terms, caller.urgency)?)
    }

    /// Encodes on a thread for blocking work.
    pub(crate) async fn encode(&self, prompt: Prompt, caller: &Caller) -> Result<Encoded, JudgeError> {
        let limit = self.context_length();
        // What cannot fit is refused before an image is decoded and megabytes of text are tokenised.
        let encode = move |processor: &dyn Processor| match processor.least_tokens(&prompt, limit)? {
            tokens if tokens >= limit => Ok(Err(EngineError::TooLong { tokens, limit })),
            _ => Ok(Ok(processor.encode(&prompt)?)),
        };
        Ok(self.process(caller, encode).await??)
    }

    pub(crate) fn processor(&self) -> &dyn Processor {
        &*self.parts.processor
    }

    /// Runs `work` on a thread for blocking work, as images and long texts take long.
    pub(crate) async fn process<T: Send + 'static>(
        &self,
        caller: &Caller,
        work: impl FnOnce(&dyn Processor) -> Result<T, EncodeError> + Send + 'static,
    ) -> Result<T, JudgeError> {
        let processor = self.parts.processor.clone();
        let span = tracing::debug_span!("encode");
        Ok(self.blocking(caller, move || span.in_scope(|| work(&*processor))).await??)
    }

    /// Does what takes long on a thread for blocking work, on as many at a time as there are cores, when it is the caller's turn.
    async fn blocking<T: Send + 'static>(
        &self,
        caller: &Caller,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JudgeError> {
        let permit = self.parts.encoders.turn(&caller.tenant, caller.urgency).await;
        let (begun, begins) = oneshot::channel();
        let work = tokio::task::spawn_blocking(move || {
            let _ = begun.send(()); // nobody may be waiting any more
            let done = work();
            drop(permit); // held by the work itself, which goes on when the client leaves
            done
        });
        // There is a thread for each permit, or one can be started: when none is, the system gives no more.
        if tokio::time::timeout(THREAD_PATIENCE, begins).await.is_err() {
            work.abort(); // does nothing to what has begun meanwhile, of which nobody hears then
            return Err(EncodeError::Busy.into());
        }
        match work.await {
            Ok(done) => Ok(done),
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
            presence_penalty: params.presence_penalty,
            frequency_penalty: params.frequency_penalty,
            logit_bias: params.logit_bias.clone(),
            min_p: params.min_p,
            min_tokens: params.min_tokens,
            drawn_below: u32::try_from(processor.vocabulary()).ok().map(TokenId),
            seed,
            report: params.report(),
        };
        let request = Request {
            script: self.script(params, limit - tokens)?,
            encoded,
            sampling,
            end_tokens: if params.ignore_end { Vec::new() } else { generation.end_tokens.clone() },
            tenant: params.caller.tenant.clone(),
            terms: params.caller.terms.clone(),
            deadline: params.caller.deadline,
            patience: params.caller.patience.clone(),
            urgency: params.caller.urgency,
        };
        let images: Vec<_> = request.encoded.visuals.iter().map(|visual| visual.hash).collect();
        let work = Work { tokens: tokens + request.max_reply_tokens(), images: &images };
        let reservation = Reservation::new(&params.caller, work)?;
        let tokens = Charged { tokens, reservation };
        Ok(CompletionStream::new(engine.submit(request)?, processor.clone(), tokens, params))
    }

    /// The pieces of a reply as tokens. What is left of `room` by the others bounds the text.
    fn script(&self, params: &CompletionParams, room: usize) -> Result<Vec<Part>, JudgeError> {
        let tokenize = |text: &String| self.parts.processor.tokenize(text);
        let mut parts = Vec::with_capacity(params.script.len());
        for part in &params.script {
            parts.push(match part {
                ReplyPart::Write => Part::Write(0),
                ReplyPart::WriteBy(rules) => Part::WriteBy { tokens: 0, rules: rules.clone() },
                ReplyPart::Say(text) => Part::Say(tokenize(text)?),
                ReplyPart::Choose { texts, distribution } => {
                    Part::Choose { labels: self.labels(texts)?, distribution: *distribution }
                }
                ReplyPart::ChooseTokens(tokens) => {
                    self.check_known(tokens)?;
                    let labels = Labels::new(tokens.iter().map(|token| vec![*token]).collect())?;
                    Part::Choose { labels, distribution: true }
                }
                ReplyPart::EndTurn => Part::Say(self.parts.processor.turn_end()),
                ReplyPart::Rate => Part::Rate,
            });
        }
        // An end of turn that nothing is known of says nothing.
        parts.retain(|part| !matches!(part, Part::Say(tokens) if tokens.is_empty()));
        let room = room.saturating_sub(parts.iter().map(Part::max_tokens).sum());
        for part in &mut parts {
            if let Part::Write(most) | Part::WriteBy { tokens: most, .. } = part {
                *most = params.max_tokens.clamp(1, room.max(1));
            }
        }
        Ok(parts)
    }

    /// The labels that `texts` are to this critic, made once for each list as long as it is in use.
    fn labels(&self, texts: &Vec<String>) -> Result<Labels, JudgeError> {
        let kept = || self.parts.labels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(labels) = kept().get(texts) {
            return Ok(labels.clone());
        }
        let tokens = texts.iter().map(|text| self.parts.processor.tokenize(text));
        let labels = Labels::new(tokens.collect::<Result<Vec<_>, _>>()?)?;
        kept().put(texts.clone(), labels.clone());
        Ok(labels)
    }
}
