//! The service itself: one critic, its engine and its rubrics.

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use critic::{
    Build, CacheScope, Critic, Encoded, GenerationDefaults, Processor, ProcessorFigures, Prompt,
    SamplingParams, TokenId,
};
use engine::{
    Engine, EngineError, Failure, Guided, Observer, PrepareError, Preparing, Request, Stats, Suspect,
    Unobserved,
};
use rubric::{Kind, RubricError, RubricLibrary};
use tokio::{
    runtime::Handle,
    sync::oneshot,
    task::{JoinError, JoinSet},
};

use crate::{
    CompletionParams, CompletionStream, JudgeError, JudgeRequest, RubricChoice, VerdictStream, Work,
    calibrated::Priors,
    caller::{Caller, Reservation},
    completion::Charged,
    fair_semaphore::FairSemaphore,
    grammar::{GrammarError, GrammarKey, Grammars, Shape},
    options::consecutive_seeds,
    prepared::Prepared,
    reply::ReplyPart,
    rules::Rules,
    scripts::Scripts,
    verdict_cache::{VerdictCache, VerdictCacheCounts},
    verdict_stream::flags_with,
};

/// How long work may wait for a thread before its request is rejected.
const THREAD_PATIENCE: Duration = Duration::from_secs(5);

/// The result of a task. Its panic continues here; it is cancelled only when the runtime ends.
fn joined<T>(ended: Result<T, JoinError>) -> Result<T, JudgeError> {
    ended.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_cancelled) => EngineError::Stopped.into(),
    })
}

/// A critic that is ready to judge. Clones are handles of the same judge.
#[derive(Clone)]
pub struct Judge {
    parts: Arc<Parts>,
    /// The rules of a [`pinned`](Self::pinned) handle.
    pinned: Option<Arc<Rules>>,
}

struct Parts {
    model: String,
    processor: Arc<dyn Processor>,
    generation: GenerationDefaults,
    engine: Engine,
    /// Replaced as a whole. The lock is held only to copy or replace the pointer, so that a running judgement keeps
    /// the rules with which it began.
    rules: RwLock<Arc<Rules>>,
    /// A description of the critic's build.
    build: Build,
    /// The cache of verdicts.
    verdict_cache: VerdictCache,
    /// Distributions for content-free responses.
    priors: Priors,
    /// The tokenised pieces of replies.
    scripts: Scripts,
    /// Compiled shapes of replies.
    grammars: Grammars,
    /// One permit per core: decoding images is bound by the CPU, and more at a time would only take more memory.
    encoders: FairSemaphore,
    /// One permit for every four cores, so that grammars that take long to compile leave the other cores to prompts.
    compilers: FairSemaphore,
}

/// The components of a judge.
pub struct Setup {
    /// Name of the checkpoint, which selects the profile.
    pub model: String,
    /// The critic.
    pub critic: Critic,
    /// The rubrics, profiles and forms.
    pub library: RubricLibrary,
    /// The configuration of the engine.
    pub engine: engine::Config,
    /// The observer of the engine.
    pub observer: Arc<dyn Observer>,
    /// Requests that earlier engines were running when they died.
    pub suspects: Vec<Suspect>,
    /// Number of cached verdicts; 0 disables the cache.
    pub memo_entries: usize,
}

impl Judge {
    /// Starts the engine of `critic`; `model` is the name of its checkpoint, which selects the profile. Without an
    /// observer and without a cache of verdicts.
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
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (encoders, compilers) = (FairSemaphore::new(cores), FairSemaphore::new(cores.div_ceil(4)));
        let Critic { processor, backend, generation, build, gpu_memory: _ } = critic;
        let engine = Engine::observed(backend, engine, observer);
        engine.remember(&suspects);
        let (verdict_cache, priors) = (VerdictCache::new(memo_entries), Priors::default());
        let scripts = Scripts::new(processor.clone());
        let grammars = Grammars::default();
        let parts = Parts {
            model,
            processor,
            generation,
            engine,
            rules,
            build,
            verdict_cache,
            priors,
            scripts,
            grammars,
            encoders,
            compilers,
        };
        Self { parts: Arc::new(parts), pinned: None }
    }

    /// A handle that keeps the current rules even if they are replaced later, for answers that consist of several
    /// judgements.
    #[must_use]
    pub fn pinned(&self) -> Self {
        Self { parts: self.parts.clone(), pinned: Some(self.rules()) }
    }

    /// A description of the critic's build.
    pub fn build(&self) -> &Build {
        &self.parts.build
    }

    /// The checkpoint's generation defaults.
    pub fn generation(&self) -> &GenerationDefaults {
        &self.parts.generation
    }

    /// Waits until the digest of the weights is known.
    pub async fn weights_known(&self) {
        let digest = self.parts.build.weights.clone();
        // The wait blocks, so that it needs a thread for blocking work. If the task is cancelled, the runtime is
        // shutting down.
        let _ = tokio::task::spawn_blocking(move || digest.wait()).await;
    }

    /// The hits and misses of the verdict cache.
    pub fn verdict_cache_counts(&self) -> VerdictCacheCounts {
        self.parts.verdict_cache.counts()
    }

    pub(crate) fn verdict_cache(&self) -> &VerdictCache {
        &self.parts.verdict_cache
    }

    pub(crate) fn priors(&self) -> &Priors {
        &self.parts.priors
    }

    /// Name of the checkpoint.
    pub fn model(&self) -> &str {
        &self.parts.model
    }

    /// The current rules, or those of a pinned handle.
    pub fn rules(&self) -> Arc<Rules> {
        // A writer that panics cannot leave a half-written pointer behind.
        let now = || self.parts.rules.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.pinned.clone().unwrap_or_else(now)
    }

    /// Replaces all rubrics, profiles and forms. Running judgements and pinned handles keep the old ones.
    pub fn replace_library(&self, library: RubricLibrary) {
        let rules = Arc::new(Rules::new(library, &self.parts.model));
        *self.parts.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Statistics of the engine.
    pub fn stats(&self) -> Stats {
        self.parts.engine.stats()
    }

    /// Statistics of the processor, which turns prompts into tokens and tiles.
    pub fn processor_figures(&self) -> ProcessorFigures {
        self.parts.processor.figures()
    }

    /// Waits until the engine has stopped because the model's code panicked.
    pub async fn stopped(&self) {
        self.parts.engine.stopped().await;
    }

    /// Fails all waiting and running requests, and all later ones.
    pub fn give_up(&self) {
        self.parts.engine.give_up();
    }

    /// The maximum number of tokens of a prompt and its reply together.
    pub fn context_length(&self) -> usize {
        self.parts.engine.capacity()
    }

    /// Starts judging `case`. Dropping the stream cancels the work.
    ///
    /// # Errors
    /// [`JudgeError`] when the rubric does not fit, the prompt cannot be encoded or the engine rejects it.
    pub async fn judge(&self, request: &JudgeRequest) -> Result<VerdictStream, JudgeError> {
        let mut prepared = self.prepare(request)?;
        if let Some(certain) = prepared.certain_judgement() {
            return Ok(VerdictStream::remembered(certain, prepared.known()));
        }
        if let Some(mut known) = prepared.slot(self).and_then(|slot| slot.recall(&prepared.conditions)) {
            // Requests with equal prompts may differ in their flags, for example by removed characters.
            let known_at = prepared.known();
            known.flags = flags_with(prepared.flags, known.label_mass);
            return Ok(VerdictStream::remembered(known, known_at));
        }
        let _preparing = self.prepare_for(prepared.caller()).await?;
        let prompt = std::mem::take(&mut prepared.prompt);
        let encoded = self.encode(prompt, prepared.caller()).await?;
        self.begin(prepared, encoded).await
    }

    /// Submits a prepared judgement to the engine, unless its verdict is certain without the critic.
    pub(crate) async fn begin(
        &self,
        prepared: Prepared,
        encoded: Encoded,
    ) -> Result<VerdictStream, JudgeError> {
        if let Some(certain) = prepared.certain_judgement() {
            return Ok(VerdictStream::remembered(certain, prepared.known()));
        }
        let seed = prepared.sampling.seed.unwrap_or_default();
        let params = prepared.params();
        let completion = self.submit(encoded, &params, seed).await.map_err(|error| match error {
            JudgeError::Texts(source) => JudgeError::Labels { rubric: prepared.rubric.name.clone(), source },
            other => other,
        })?;
        let slot = prepared.slot(self);
        Ok(VerdictStream::new(completion, prepared, slot))
    }

    /// Starts writing `count` continuations of `prompt`, each with its own random numbers.
    ///
    /// # Errors
    /// [`JudgeError`] when the prompt cannot be encoded or the engine rejects the sequences: it accepts all of
    /// them, some after waiting, or none.
    pub async fn complete(
        &self,
        prompt: Prompt,
        params: &CompletionParams,
        count: usize,
    ) -> Result<Vec<CompletionStream>, JudgeError> {
        let _preparing = self.prepare_for(&params.caller).await?;
        let encoded = self.encode(prompt, &params.caller).await?;
        self.submit_all(&encoded, params, count).await
    }

    /// Starts `count` sequences for one prompt.
    pub(crate) async fn submit_all(
        &self,
        encoded: &Encoded,
        params: &CompletionParams,
        count: usize,
    ) -> Result<Vec<CompletionStream>, JudgeError> {
        let start = params.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let mut streams = Vec::with_capacity(count);
        for seed in consecutive_seeds(start, count) {
            streams.push(self.submit(encoded.clone(), params, seed).await?);
        }
        Ok(streams)
    }

    /// Checks in advance for errors that every judgement of this kind would have.
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

    /// The size of the critic's vocabulary; token ids are below it.
    pub fn vocabulary(&self) -> usize {
        self.parts.processor.vocabulary()
    }

    /// The rules that enforce a shape, for [`ReplyPart::GenerateBy`].
    ///
    /// # Errors
    /// [`JudgeError::Grammar`] when the shape cannot be enforced, [`JudgeError::NoThread`] when no thread is
    /// available to compile it.
    pub async fn rules_for(&self, shape: Shape, caller: &Caller) -> Result<Guided, JudgeError> {
        let key = GrammarKey::of(&shape, caller.scope());
        if let Some(kept) = self.parts.grammars.kept(&key) {
            return Ok(kept?);
        }
        let (parts, runtime) = (self.parts.clone(), Handle::current());
        let compile = move || parts.grammars.compile((&shape, key), parts.processor.as_ref(), runtime);
        self.blocking(&self.parts.compilers, caller, compile).await?.map_err(|error| match error {
            GrammarError::NoThread => JudgeError::NoThread,
            error => JudgeError::Grammar(error),
        })
    }

    /// Counts a part of the caller's request that will be encoded, until the result is dropped. A request for which
    /// there will be no room is rejected here, before it costs anything; a patient one waits for room. So does a
    /// further part of a request while many parts are being encoded or wait in the queue: whoever holds the result
    /// for one part must not wait for another part of the same request to be prepared.
    ///
    /// # Errors
    /// [`JudgeError::Engine`] when the queue, or the tenant's share of it, is full, and [`JudgeError::Failed`] when
    /// the deadline has passed or another part of the request timed out in the queue.
    pub async fn prepare_for(&self, caller: &Caller) -> Result<Preparing, JudgeError> {
        self.parts.engine.prepare(&caller.ticket, &caller.client).await.map_err(|error| match error {
            PrepareError::Rejected(error) => error.into(),
            PrepareError::Failed(failure) => failure.into(),
        })
    }

    /// Encodes a prompt on a thread for blocking work.
    pub(crate) async fn encode(&self, prompt: Prompt, caller: &Caller) -> Result<Encoded, JudgeError> {
        let limit = self.context_length();
        let prompt = Prompt { cache_scope: CacheScope(caller.scope()), ..prompt };
        // A prompt that cannot fit is rejected before an image is decoded or megabytes of text are tokenised.
        let encode = move |processor: &dyn Processor| -> Result<Encoded, JudgeError> {
            match processor.least_tokens(&prompt, limit)? {
                tokens if tokens >= limit => Err(EngineError::too_long_at_least(tokens, limit).into()),
                _ => Ok(processor.encode(&prompt)?),
            }
        };
        self.process(caller, encode).await
    }

    /// Rejects a text that fits into no prompt, before prompts with it are rendered.
    ///
    /// # Errors
    /// [`EngineError::TooLong`] for such a text, and errors of encoding.
    pub(crate) async fn check_length(&self, text: &str, caller: &Caller) -> Result<(), JudgeError> {
        let limit = self.context_length();
        // A token has a byte at least.
        if text.len() < limit {
            return Ok(());
        }
        let _preparing = self.prepare_for(caller).await?;
        let text = text.to_owned();
        let least = move |processor: &dyn Processor| -> Result<usize, JudgeError> {
            Ok(processor.least_text_tokens(&text, limit)?)
        };
        let tokens = self.process(caller, least).await?;
        if tokens < limit { Ok(()) } else { Err(EngineError::too_long_at_least(tokens, limit).into()) }
    }

    pub(crate) fn processor(&self) -> &dyn Processor {
        &*self.parts.processor
    }

    /// Runs `work` on a thread for blocking work, since images and long texts take long.
    ///
    /// # Errors
    /// Those of the work, and [`JudgeError`] when it is not begun.
    pub(crate) async fn process<T: Send + 'static, E: From<JudgeError> + Send + 'static>(
        &self,
        caller: &Caller,
        work: impl FnOnce(&dyn Processor) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let processor = self.parts.processor.clone();
        let span = tracing::debug_span!("encode");
        self.blocking(&self.parts.encoders, caller, move || span.in_scope(|| work(&*processor))).await?
    }

    /// Runs long work on a thread for blocking work when it is the caller's turn.
    ///
    /// # Errors
    /// [`JudgeError::NoThread`] when no thread is available in time, and [`Failure::Expired`] when the deadline passes
    /// before the caller's turn.
    async fn blocking<T: Send + 'static>(
        &self,
        permits: &FairSemaphore,
        caller: &Caller,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JudgeError> {
        let (permits, tenant, urgency, deadline) =
            (permits.clone(), caller.client.tenant.clone(), caller.client.urgency, caller.client.deadline);
        // A task of its own, which is aborted when the set is dropped. A permit is granted to whoever waits longest, and the
        // request itself may not be polled then: that of a client that does not read its stream would keep it.
        let mut task = JoinSet::new();
        task.spawn(async move {
            let permit = permits.acquire(&tenant, urgency);
            let permit = match deadline {
                Some(end) => {
                    tokio::time::timeout_at(end.into(), permit).await.map_err(|_| Failure::Expired)?
                }
                None => permit.await,
            };
            let (begun, begins) = oneshot::channel();
            let work = tokio::task::spawn_blocking(move || {
                let _ = begun.send(()); // the receiver may be gone
                let done = work();
                drop(permit); // held by the work, which continues when the client leaves
                done
            });
            // The runtime has a thread for each permit or starts one. If none begins in time, the system cannot start
            // more threads.
            if tokio::time::timeout(THREAD_PATIENCE, begins).await.is_err() {
                work.abort(); // no effect if it began meanwhile; its result is dropped then
                return Err(JudgeError::NoThread);
            }
            joined(work.await)
        });
        joined(task.join_next().await.expect("the set has a task"))?
    }

    /// Submits a sequence to the engine. It waits for room if the caller's request was already accepted.
    async fn submit(
        &self,
        encoded: Encoded,
        params: &CompletionParams,
        seed: u64,
    ) -> Result<CompletionStream, JudgeError> {
        let Parts { generation, engine, processor, scripts, .. } = &*self.parts;
        let (tokens, limit) = (encoded.tokens.len(), engine.capacity());
        if tokens >= limit {
            let of_images = encoded.visual_tokens();
            return Err(EngineError::TooLong { tokens, limit, of_images, or_more: false }.into());
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
        for part in &params.script {
            if let ReplyPart::TokenChoice(tokens) = part {
                self.check_known(tokens)?;
            }
        }
        let script = scripts.parts(params, limit - tokens)?;
        let labels = match params.top_logprobs {
            Some(_) => scripts.label_bytes(&script),
            None => VecDeque::new(),
        };
        let request = Request {
            script,
            encoded,
            sampling,
            end_tokens: if params.ignore_end { Vec::new() } else { generation.end_tokens.clone() },
            client: params.caller.client.clone(),
        };
        let images: Vec<_> = request.encoded.visuals.iter().map(|visual| visual.hash).collect();
        let work = Work { tokens: tokens + request.max_reply_tokens(), images: &images };
        let reservation = Reservation::new(&params.caller, work)?;
        let tokens = Charged { tokens, reservation };
        let stream = engine.submit_part(request, &params.caller.ticket).await?;
        Ok(CompletionStream::new(stream, processor.clone(), tokens, labels, params))
    }
}
