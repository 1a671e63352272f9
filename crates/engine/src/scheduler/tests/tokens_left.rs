//! Tests of the estimate of how many tokens running sequences have left.

use super::*;

#[test]
fn what_runs_has_its_prompt_and_its_reply_left() {
    let mut bench = Bench::new(2);
    assert_eq!(bench.scheduler.tokens_left(), 0);
    bench.enqueue(&[1; 12], 9);
    bench.enqueue(&[2; 6], 1);
    bench.enqueue(&[3; 6], 5);
    bench.scheduler.schedule(bench.now).unwrap();
    // The last token of a reply is not run. Nothing is known of texts, and what waits is not counted.
    assert_eq!(bench.scheduler.tokens_left(), (12 + 8) + 6);
}

#[test]
fn a_reply_becomes_as_long_as_others_or_twice_as_long_as_it_is() {
    let mut bench = Bench::new(2);
    bench.enqueue(&[1; 6], 2);
    bench.ask(&[5; 6], vec![choose(&[&[1], &[2]], false)], Traits::default());
    bench.drain();
    // A text of two tokens was complete; a label is no text.
    bench.enqueue(&[2; 6], 20);
    let mut left = Vec::new();
    while bench.step().is_some() {
        left.push(bench.scheduler.tokens_left());
    }
    // One token more makes two; from then on as many as it has, and no more than its limit leaves.
    assert_eq!(left, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
}
