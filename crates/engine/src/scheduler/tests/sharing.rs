//! Tests of shared prefixes: they are computed once, and cached while there is room.

use super::*;

#[test]
fn followers_wait_for_their_leader_and_start_after_the_shared_beginning() {
    let mut bench = Bench::new(8);
    let shared: Vec<u32> = (0..16).map(|id| id % 7).collect();
    for ending in [[5, 0], [6, 0], [7, 0]] {
        bench.enqueue(&[&shared[..], &ending].concat(), 2);
    }
    bench.enqueue(&[7, 7, 7], 1);
    let timeline: Vec<String> = std::iter::from_fn(|| bench.step()).collect();
    // A leads. D shares nothing, is short, and overtakes all; B and C start at 16 once A has computed the blocks up
    // to there.
    assert_eq!(
        timeline,
        ["D[0..3] A[0..7]", "A[7..17]", "A[17..18] B[16..18] C[16..18]", "A[18..19] B[18..19] C[18..19]"]
    );
    assert_eq!(bench.outcomes(), [Some((2, 0)), Some((2, 16)), Some((2, 16)), Some((1, 0))]);
    assert_eq!((bench.scheduler.free_blocks(), bench.scheduler.cached_blocks()), (12, 4));
}

#[test]
fn a_follower_leads_when_its_leader_leaves() {
    let mut bench = Bench::new(8);
    let shared: Vec<u32> = (0..16).map(|id| id % 7).collect();
    bench.enqueue(&shared, 4);
    bench.enqueue(&shared, 4);
    assert_eq!(bench.step().unwrap(), "A[0..10]");
    bench.clients[0].stream = None;
    assert_eq!(bench.step().unwrap(), "B[8..16]");
    bench.drain();
    assert_eq!(bench.outcomes()[1], Some((4, 8)));
}

#[test]
fn blocks_of_a_sequence_that_failed_are_found_by_nobody_though_another_still_runs_on_them() {
    let mut bench = Bench::within(Limits { block_count: 24, ..LIMITS }, Config::default());
    let shared: Vec<u32> = (0..16).map(|id| id % 7).collect();
    let prompt = |own: u32, count: usize| [&shared[..], &vec![own; count]].concat();
    bench.enqueue(&prompt(5, 2), 4);
    assert_eq!(bench.step().unwrap(), "A[0..10]");
    bench.enqueue(&prompt(6, 13), 4);
    assert_eq!(bench.step().unwrap(), "A[10..18]");
    // B computes two blocks after those of A.
    assert_eq!(bench.step_without(Some(0)).unwrap(), "A[18..19] B[16..25]");
    assert_eq!(bench.scheduler.cached_blocks(), 0);
    bench.enqueue(&prompt(5, 2), 4);
    bench.enqueue(&prompt(6, 13), 1);
    // C computes the same blocks again, and D waits for them.
    assert_eq!(bench.step().unwrap(), "B[25..29] C[0..6]");
    bench.drain();
    assert_eq!(bench.outcomes(), [Some((1, 0)), Some((4, 16)), Some((4, 0)), Some((1, 16))]);
    let scheduler = &bench.scheduler;
    assert_eq!((scheduler.free_blocks(), scheduler.cached_blocks()), (24, 4 + 3), "none of A and B");
}

/// The uncached length of a prompt must be its whole length again when its blocks are no longer going to be
/// computed.
#[test]
fn blocks_that_were_only_promised_are_not_known_when_nobody_computes_them() {
    let mut bench = Bench::new(1);
    let prompts: [Vec<u32>; 3] = [vec![1; 30], vec![2; 9], vec![3; 9]];
    let keys = |prompt: &[u32]| {
        let tokens = prompt.iter().map(|id| TokenId(*id)).collect();
        let root = root(&[0; 32], &Tenant("".into()), &Terms::default());
        block_keys(&Encoded { tokens, visuals: Vec::new() }, LIMITS.block_size, root)
    };
    let backlog = Arc::clone(&bench.scheduler.backlog);
    let counted = |prompt: &[u32]| {
        let (ticket, tenant) = (Ticket::default(), Tenant::default());
        let entry = QueueEntry {
            client: QueueClient {
                ticket: &ticket,
                tenant: &tenant,
                share: 1.0,
                urgency: Urgency::Now,
                place: None,
            },
            lane: Lane::Explain,
            tokens: prompt.len(),
            keys: &keys(prompt),
            block_size: LIMITS.block_size,
        };
        let queue_slot = backlog.join(entry, &Config::default()).unwrap();
        let tokens = backlog.tokens();
        drop(queue_slot);
        tokens
    };
    for prompt in &prompts {
        assert_eq!(counted(prompt), prompt.len());
        bench.enqueue(prompt, 1);
    }
    assert_eq!(counted(&prompts[1]), 1, "two blocks are promised");
    // The first has computed two of seven blocks; the second waits.
    assert_eq!(bench.step().unwrap(), "A[0..10]");
    bench.clients[0].stream = None;
    bench.clients[1].stream = None;
    bench.drain();
    assert_eq!(counted(&prompts[0]), 30 - 8);
    assert_eq!(counted(&prompts[1]), 9);
    assert_eq!(counted(&prompts[2]), 1, "it was computed");
}

#[test]
fn kept_blocks_give_way_to_running_sequences() {
    let mut bench = Bench::new(8);
    for id in 0..4 {
        bench.enqueue(&[id; 20], 1);
        bench.drain();
    }
    assert!(bench.scheduler.cached_blocks() >= 8);
    bench.enqueue(&[7; 30], 10);
    bench.drain();
    bench.enqueue(&[7; 30], 1);
    bench.drain();
    assert_eq!(bench.outcomes()[4..], [Some((10, 0)), Some((1, 28))]);
}

#[test]
fn to_wait_for_memory_is_no_use_of_what_is_kept() {
    let mut bench = Bench::new(8);
    let shared = [7; 9];
    for _ in 0..2 {
        bench.enqueue(&shared, 1);
        bench.drain();
    }
    // The second has no room beside the first, and is considered again in each step.
    bench.enqueue(&[1; 6], 26);
    bench.enqueue(&[2; 21], 1);
    bench.drain();
    bench.enqueue(&[3; 32], 1);
    bench.drain();
    bench.enqueue(&shared, 1);
    bench.drain();
    assert_eq!(bench.outcomes()[2..], [Some((26, 0)), Some((1, 0)), Some((1, 0)), Some((1, 8))]);
}
