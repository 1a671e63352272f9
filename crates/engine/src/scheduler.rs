//! Decides what runs in the next step: plain state and a step function, without a thread or a clock of its own.
//!
//! *Admission* is in `admission.rs`: which sequences run, and with which blocks.
//!
//! *Steps.* Each step first runs the decoding sequences, then chunks of prompts, up to as many tokens as [`StepBudget`]
//! allows. Prompts take turns by tenant, those that need the fewest steps first; prompts that have waited very long
//! come before all others.

mod admission;
mod admission_order;
pub(crate) mod fair_share;
mod recent_tenants;
mod step_budget;

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use critic::{Batch, CacheFigures, Limits, StepOutput};

use self::{fair_share::FairShare, recent_tenants::RecentTenants, step_budget::StepBudget};
use crate::{
    arrival::Identity,
    average::MovingAverage,
    block_allocator::BlockAllocator,
    config::Config,
    error::Failure,
    observer::{Ending, SequenceReport},
    parallel,
    prefix_cache::{BlockKey, PrefixCache},
    queue::{backlog::Backlog, timeout::QueueTimeout},
    request::{Lane, Tenant, Urgency},
    sequence::{Blocks, Sequence},
    stream::Event,
    suspects::Fingerprint,
};

/// The result of a step for one chunk: what it wants, if it wants anything.
pub(crate) type Outcome = Result<Option<StepOutput>, Failure>;

/// The waiting and running sequences, and their blocks.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    config: Config,
    allocator: BlockAllocator,
    cache: PrefixCache,
    /// Is informed which blocks are cached.
    backlog: Arc<Backlog>,
    /// Keys of the blocks that running sequences will compute.
    computing: HashSet<BlockKey>,
    share: FairShare,
    recent_tenants: RecentTenants,
    step_budget: StepBudget,
    /// The length of replies with text that were complete, in tokens.
    text_length: MovingAverage,
    /// In order of arrival. The length is limited when requests are submitted.
    waiting: VecDeque<Box<Sequence>>,
    /// Identities of all waiting and running sequences.
    asked: HashSet<Identity>,
    /// In order of admission.
    running: Vec<Sequence>,
    /// For each chunk of the batch in flight, the index of its sequence in `running`.
    in_flight: Vec<usize>,
    /// Reports of ended sequences, for the observer.
    ended: Vec<SequenceReport>,
    /// Times between generated tokens, for the observer.
    gaps: Vec<Duration>,
    /// Suspects that were run to their end.
    acquitted: Vec<Fingerprint>,
    /// Cache look-ups at admission; the size in bytes is not known here.
    prefix: CacheFigures,
}

impl Scheduler {
    pub(crate) fn new(limits: Limits, config: Config, backlog: Arc<Backlog>) -> Self {
        Self {
            limits,
            config,
            allocator: BlockAllocator::new(limits.block_count),
            cache: PrefixCache::new(limits.block_count),
            backlog,
            computing: HashSet::new(),
            share: FairShare::default(),
            recent_tenants: RecentTenants::default(),
            step_budget: StepBudget::new(limits, config.step_time),
            text_length: MovingAverage::default(),
            waiting: VecDeque::new(),
            asked: HashSet::new(),
            running: Vec::new(),
            in_flight: Vec::new(),
            ended: Vec::new(),
            gaps: Vec::new(),
            acquitted: Vec::new(),
            prefix: CacheFigures::default(),
        }
    }

    /// Returns the reports of the sequences that ended since the last call.
    pub(crate) fn take_ended(&mut self) -> Vec<SequenceReport> {
        std::mem::take(&mut self.ended)
    }

    /// Returns the times between tokens generated since the last call.
    pub(crate) fn take_gaps(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.gaps)
    }

    /// The same scheduler with cache figures that continue from `prefix`: the counters of a process never decrease.
    pub(crate) fn counting_from(self, prefix: CacheFigures) -> Self {
        Self { prefix, ..self }
    }

    /// Number of cached blocks found, missing and evicted.
    pub(crate) fn prefix(&self) -> CacheFigures {
        self.prefix
    }

    /// The number of running sequences.
    pub(crate) fn running_count(&self) -> usize {
        self.running.len()
    }

    /// The number of tokens that the running sequences are expected to run still.
    pub(crate) fn tokens_left(&self) -> usize {
        let usual_length = self.text_length.value().map(|length| length.ceil() as usize);
        self.running.iter().map(|sequence| sequence.tokens_left(usual_length)).sum()
    }

    /// The number of blocks not held by a running sequence.
    pub(crate) fn free_blocks(&self) -> usize {
        self.allocator.free_count() + self.cache.idle_count()
    }

    /// The number of these that are cached for later sequences.
    pub(crate) fn idle_blocks(&self) -> usize {
        self.cache.idle_count()
    }

    /// The number of cached blocks, including those in use.
    pub(crate) fn cached_blocks(&self) -> usize {
        self.cache.len()
    }

    /// Appends a sequence to the queue. If an equal one is waiting or running, its clients join that one instead. If
    /// the request of which it is a part has timed out in the queue, it fails at once.
    pub(crate) fn enqueue(&mut self, mut sequence: Sequence) {
        self.recent_tenants.note(sequence.tenant(), sequence.arrived());
        let backlog = &self.backlog;
        let retry_after_s = || backlog.retry_after_s(backlog.tokens());
        if sequence.subscribers.end_queue_timeouts(QueueTimeout::timed_out, retry_after_s) {
            self.ended.push(sequence.report(Ending::QueueTimedOut, sequence.arrived()));
            self.forget_promised(sequence.block_keys());
            return;
        }
        if self.asked.insert(*sequence.identity()) {
            self.waiting.push_back(Box::new(sequence));
            return;
        }
        let is_equal = |other: &&mut Sequence| other.identity() == sequence.identity();
        let running = self.running.iter_mut().find(is_equal);
        if running.is_some() {
            sequence.subscribers.begin();
        }
        if let Some(equal) = running.or_else(|| self.waiting.iter_mut().map(Box::as_mut).find(is_equal)) {
            equal.want(sequence.urgency());
            equal.subscribers.join(sequence.subscribers);
        }
    }

    /// Drops the sequences without clients, admits those that fit, and chooses the next batch; `None` when nothing
    /// waits or runs.
    pub(crate) fn schedule(&mut self, now: Instant) -> Option<Batch> {
        self.drop_waiting(now, |sequence| sequence.subscribers.gone(now));
        let gone: Vec<Option<Ending>> =
            self.running.iter_mut().map(|sequence| sequence.subscribers.gone(now)).collect();
        self.end_marked(&gone, now);
        self.admit(now);
        self.end_queue_timeouts(now);
        self.in_flight.clear();
        let mut batch = Batch::default();
        let writing = (0..self.running.len()).filter(|index| self.running[*index].is_decoding());
        let writing = writing.collect::<Vec<_>>();
        let writers = writing.len();
        let mut budget = self.step_budget.tokens(writers);
        budget -= self.add(writing, budget, &mut batch);
        if writers > 0 {
            budget = budget.min(self.config.max_prefill_tokens.max(1));
        }
        let reading = self.prompts_by_turns(budget, now);
        self.add(reading, budget, &mut batch);
        (!batch.chunks.is_empty()).then_some(batch)
    }

    /// Adds the next tokens of these running sequences to a batch, in this order and up to `budget` tokens; returns
    /// the number added.
    fn add(&mut self, indices: Vec<usize>, budget: usize, batch: &mut Batch) -> usize {
        let mut left = budget;
        for index in indices {
            if left == 0 {
                break;
            }
            let chunk = self.running[index].next_chunk(left);
            left -= chunk.tokens.len();
            batch.chunks.push(chunk);
            self.in_flight.push(index);
        }
        budget - left
    }

    /// The running sequences in the prefill phase, in the order in which they run. Each tenant's prompts are
    /// ordered by the number of steps that they need, then by age; the first prompts of all tenants come first,
    /// then the second ones, and so on. A prompt therefore waits neither for all earlier prompts of another tenant,
    /// nor for one as long as the context, unless that has waited long.
    fn prompts_by_turns(&self, budget: usize, now: Instant) -> Vec<usize> {
        let reading = (0..self.running.len()).filter(|index| !self.running[*index].is_decoding());
        let mut order: Vec<(bool, usize, usize)> = reading
            .map(|index| {
                let sequence = &self.running[index];
                // Age puts nothing of low urgency, which usually waits long, before prompts that clients wait for.
                let is_young = sequence.urgency() == Urgency::Background
                    || !sequence.has_waited(self.config.max_age, now);
                let steps = sequence.unread().div_ceil(budget.max(1));
                (is_young, if is_young { steps } else { 0 }, index)
            })
            .collect();
        order.sort_unstable();
        let mut turns: HashMap<&Tenant, usize> = HashMap::new();
        // The sort is stable, so that the order by steps decides between equal turns.
        order.sort_by_cached_key(|(is_young, _, index)| {
            let turn = turns.entry(self.running[*index].tenant()).or_default();
            *turn += 1;
            (*is_young, *turn)
        });
        order.into_iter().map(|(.., index)| index).collect()
    }

    /// The distinct requests in the batch in flight.
    pub(crate) fn fingerprints(&self) -> BTreeSet<Fingerprint> {
        self.in_flight.iter().map(|index| self.running[*index].fingerprint()).collect()
    }

    /// Returns the suspects that were run to their end since the last call.
    pub(crate) fn take_acquitted(&mut self) -> Vec<Fingerprint> {
        std::mem::take(&mut self.acquitted)
    }

    /// The number of prompts in the batch in flight, and of their tokens.
    pub(crate) fn prompts(&self, batch: &Batch) -> (usize, usize) {
        let chunks = batch.chunks.iter().zip(&self.in_flight);
        let prompts = chunks.filter(|(_, index)| !self.running[**index].is_decoding());
        prompts.fold((0, 0), |(count, tokens), (chunk, _)| (count + 1, tokens + chunk.tokens.len()))
    }

    /// Adjusts the size of later steps to the duration of a step of `tokens` tokens, excluding its images.
    pub(crate) fn note_step(&mut self, tokens: usize, took: Duration) {
        self.step_budget.note(tokens, took);
    }

    /// Processes the results of the batch in flight: every sequence advances, and continues by its output if it
    /// wanted one.
    pub(crate) fn commit(&mut self, batch: &Batch, outcomes: Vec<Outcome>, now: Instant) {
        let indices = std::mem::take(&mut self.in_flight);
        let mut of_sequences: Vec<Option<Outcome>> = self.running.iter().map(|_| None).collect();
        for ((chunk, index), outcome) in batch.chunks.iter().zip(indices).zip(outcomes) {
            if outcome.is_ok() {
                self.advance(index, chunk.tokens.len());
            }
            of_sequences[index] = Some(outcome);
        }
        let outputs = of_sequences.iter().flatten().flatten().flatten();
        let numbers = outputs.map(|output| output.numbers().len()).sum();
        let mut ended = vec![None; of_sequences.len()];
        let continued = ended.iter_mut().zip(self.running.iter_mut().zip(of_sequences));
        // Sequences with rules may have to wait for another thread, so that they do not occupy threads of the
        // shared pool.
        let (guided, free): (Vec<_>, Vec<_>) =
            continued.partition(|(_, (sequence, _))| sequence.follows_rules());
        let go_on =
            |(ending, (sequence, outcome)): (&mut Option<Ending>, (&mut Sequence, Option<Outcome>))| {
                *ending = outcome.and_then(|outcome| sequence.go_on(outcome, now));
            };
        parallel::map(free, numbers, go_on);
        guided.into_iter().for_each(go_on);
        self.gaps.extend(self.running.iter_mut().filter_map(Sequence::take_gap));
        self.end_marked(&ended, now);
    }

    /// Fails all sequences, since the content of the cache cannot be trusted.
    pub(crate) fn fail_all(&mut self, failure: &Failure, now: Instant) {
        for mut sequence in self.running.drain(..).chain(self.waiting.drain(..).map(|sequence| *sequence)) {
            sequence.subscribers.tell(Event::Failed(failure.clone()));
            self.ended.push(sequence.report(Ending::Failed, now));
        }
        self.asked.clear();
    }

    /// Whether every block is free, cached, or held exactly once.
    pub(crate) fn is_whole(&self) -> bool {
        let own: usize = self.running.iter().map(Sequence::own_block_count).sum();
        let cached = self.cache.len() + self.cache.withdrawn_count();
        self.allocator.free_count() + cached + own == self.allocator.total()
    }

    /// Whether no sequence waits or runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Records that a sequence has `tokens` more positions in the cache, and adds its full blocks to the prefix
    /// cache.
    fn advance(&mut self, index: usize, tokens: usize) {
        let sequence = &mut self.running[index];
        sequence.advance(tokens);
        while let Some(full) = sequence.next_shareable(self.limits.block_size) {
            let block = sequence.share();
            let key = sequence.block_keys()[full];
            self.cache.insert(sequence.block_keys(), full, block);
            self.computing.remove(&key);
            self.backlog.learn(&key);
        }
    }

    /// Drops the waiting sequences whose clients have waited for as long as they may.
    fn end_queue_timeouts(&mut self, now: Instant) {
        let backlog = Arc::clone(&self.backlog);
        let retry_after_s = || backlog.retry_after_s(backlog.tokens());
        self.drop_waiting(now, |sequence| {
            let timed_out = |queue_timeout: &QueueTimeout| queue_timeout.time_out(now);
            sequence.subscribers.end_queue_timeouts(timed_out, retry_after_s).then_some(Ending::QueueTimedOut)
        });
    }

    /// Drops the waiting sequences for which `ending` returns an ending.
    fn drop_waiting(&mut self, now: Instant, mut ending: impl FnMut(&mut Sequence) -> Option<Ending>) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain_mut(|sequence| {
            let Some(ending) = ending(sequence) else { return true };
            self.asked.remove(sequence.identity());
            self.ended.push(sequence.report(ending, now));
            self.forget_promised(sequence.block_keys());
            false
        });
        self.waiting = waiting;
    }

    /// Forgets the promise that the blocks of `keys` will be cached, for those that are neither cached nor being
    /// computed: the sequence that was to compute them will not. Another waiting sequence may still compute them;
    /// until then, its prompt counts as longer than it is.
    fn forget_promised(&self, keys: &[BlockKey]) {
        let missing = &keys[self.cache.known(keys)..];
        missing.iter().filter(|key| !self.computing.contains(*key)).for_each(|key| self.backlog.forget(key));
    }

    /// Withdraws the cached blocks of the sequences that failed: any of them might contain non-finite numbers, on which
    /// every later sequence with the same prefix would fail as well. Sequences that run on these blocks go on, since
    /// their outputs are checked, but what they compute from here on is their own.
    fn withdraw_blocks_of_failed(&mut self, marks: &[Option<Ending>]) {
        let marked = self.running.iter().zip(marks);
        let failed = marked.filter(|(_, mark)| **mark == Some(Ending::Failed));
        let firsts: Vec<_> = failed.filter_map(|(sequence, _)| sequence.first_lease()).collect();
        for (first, block) in firsts {
            // Others may have computed the same blocks again since these were withdrawn.
            if self.cache.is_withdrawn(block) {
                continue;
            }
            for (key, unused) in self.cache.withdraw(&first) {
                self.backlog.forget(&key);
                self.allocator.release(Vec::from_iter(unused));
                self.prefix.evictions += 1;
            }
            self.stop_sharing_of_withdrawn();
        }
    }

    /// Makes the running sequences on withdrawn blocks share nothing that they compute after these.
    fn stop_sharing_of_withdrawn(&mut self) {
        let on_withdrawn = |sequence: &&mut Sequence| {
            sequence.first_lease().is_some_and(|(_, block)| self.cache.is_withdrawn(block))
        };
        let kept: Vec<BlockKey> =
            self.running.iter_mut().filter(on_withdrawn).flat_map(Sequence::stop_sharing).collect();
        for key in &kept {
            self.computing.remove(key);
            self.backlog.forget(key);
        }
    }

    /// Removes the marked sequences, keeps the order of the others, and frees their blocks.
    fn end_marked(&mut self, marks: &[Option<Ending>], now: Instant) {
        if marks.iter().all(Option::is_none) {
            return;
        }
        self.withdraw_blocks_of_failed(marks);
        let sequences = std::mem::take(&mut self.running);
        for (sequence, mark) in sequences.into_iter().zip(marks) {
            let Some(ending) = *mark else {
                self.running.push(sequence);
                continue;
            };
            let unused = sequence.max_positions().saturating_sub(sequence.computed());
            self.share.refund(sequence.tenant(), unused, sequence.weight());
            let report = sequence.report(ending, now);
            if ending == Ending::Finished && report.lane == Lane::Explain {
                self.text_length = self.text_length.after(report.reply_tokens.max(1) as f64);
            }
            self.ended.push(report);
            if sequence.runs_alone()
                && matches!(ending, Ending::Finished | Ending::Failed | Ending::Unwritable)
            {
                self.acquitted.push(sequence.fingerprint());
            }
            self.asked.remove(sequence.identity());
            for key in sequence.unshared_keys() {
                self.computing.remove(key);
            }
            self.forget_promised(sequence.block_keys());
            let Blocks { keys, leased, own } = sequence.into_blocks();
            self.allocator.release(own);
            if leased.first().is_some_and(|block| self.cache.is_withdrawn(*block)) {
                self.allocator.release(self.cache.release_withdrawn(leased));
            } else {
                self.cache.release(&keys);
            }
        }
    }
}

#[cfg(test)]
mod tests;
