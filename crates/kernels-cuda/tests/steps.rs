//! The lists of steps: they stay in their places, and blocks and positions that do not exist are found.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod emulated;

use std::panic::{AssertUnwindSafe, catch_unwind};

use half::bf16;
use kernels_cuda::{BLOCK_SIZE, Chunk, Heads, PagedCache, RotaryTable, Rows, Step};

const HEADS: Heads = Heads { heads: 2, kv_heads: 1, size: 16 };

/// Graphs can run again only while lists have not moved, and prompts run between the steps that run as graphs.
#[test]
fn lists_stay_in_their_places_whatever_chunks_a_step_has() {
    let gpu = emulated::gpu();
    let block_table: Vec<u32> = (0..16).collect();
    let chunk = |start, length| Chunk { start, length, block_table: &block_table };
    let mut step = Step::new(&gpu, (512, 2, 32)).unwrap().attending(HEADS).unwrap();
    for chunks in [
        vec![chunk(0, 1), chunk(511, 1)],
        vec![chunk(0, 512)],
        vec![chunk(0, 30), chunk(100, 412)],
        vec![chunk(9, 2)],
        vec![chunk(511, 1)],
    ] {
        step.set(&chunks).unwrap();
        assert_eq!(step.moves(), 0, "{chunks:?}");
    }
}

/// A graph checks nothing when it runs, and writes to the places that the lists of the step name.
#[test]
fn blocks_and_positions_that_are_not_there_are_found_before_a_graph_runs() {
    const BLOCKS: usize = 4;
    let gpu = emulated::gpu();
    let cache = PagedCache::new(&gpu, HEADS, BLOCKS).unwrap();
    let turns = |positions: usize| {
        let numbers = vec![0.0; positions * HEADS.size / 2];
        RotaryTable::new(&gpu, (&numbers, &numbers), HEADS.size).unwrap()
    };
    let mut step = Step::new(&gpu, (1, 1, BLOCKS)).unwrap().attending(HEADS).unwrap();
    let mut is_there = |block_table: &[u32], positions: usize| {
        let chunk = Chunk { start: BLOCKS * BLOCK_SIZE - 1, length: 1, block_table };
        step.set(&[chunk]).unwrap();
        let table = turns(positions);
        catch_unwind(AssertUnwindSafe(|| cache.assert_has(&step, &table))).is_ok()
    };
    let positions = BLOCKS * BLOCK_SIZE;
    assert!(is_there(&[3, 2, 1, 0], positions));
    assert!(!is_there(&[0, 1, 2, 4], positions), "a block that the cache does not have");
    assert!(!is_there(&[3, 2, 1, 0], positions - 1), "a position that is not in the table");
}

/// The lists of a step are copied through memory that has room for about one of them.
#[test]
fn lists_arrive_though_the_memory_for_their_copies_is_used_again() {
    let gpu = emulated::gpu();
    let (start, length, block_table) = (3, 90, [2, 0, 1]);
    let columns = (HEADS.heads + 2 * HEADS.kv_heads) * HEADS.size;
    let numbers: Vec<bf16> = (0..length * columns).map(|index| bf16::from_f32((index % 97) as f32)).collect();
    let turns = vec![1.0; (start + length) * HEADS.size / 2];
    let table = RotaryTable::new(&gpu, (&turns, &turns), HEADS.size).unwrap();
    let stored = |room: (usize, usize, usize)| {
        let mut step = Step::new(&gpu, room).unwrap();
        let mut cache = PagedCache::new(&gpu, HEADS, 3).unwrap();
        let mut projections = Rows::upload(&gpu, &numbers, columns).unwrap();
        step.set(&[Chunk { start, length, block_table: &block_table }]).unwrap();
        cache.rotate_and_store(&mut projections, &table, &step).unwrap();
        cache.download(&gpu).unwrap()
    };
    let (found, wanted) = (stored((1, 1, 1)), stored((512, 2, 32)));
    assert!(wanted.0.iter().any(|number| *number != 0.0));
    assert_eq!(found, wanted);
}
