//! Prints how fast the kernels are beside what the machine can do: a table, and the same as JSON.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::{Duration, Instant};

use kernels::{BLOCK_SIZE, Dense, Heads, Isa, Linear, PagedCache, Queries, Span, attend_all, limits};
use serde_json::{Value, json};

/// How long each measurement is repeated.
const SPAN: Duration = Duration::from_millis(600);

/// The least seconds that `run` takes: other work on the machine can only add to them.
fn seconds(mut run: impl FnMut()) -> f64 {
    run();
    let begin = Instant::now();
    let (mut least, mut rounds) = (f64::INFINITY, 0);
    while rounds < 5 || begin.elapsed() < SPAN {
        let begin = Instant::now();
        run();
        least = least.min(begin.elapsed().as_secs_f64());
        rounds += 1;
    }
    least
}

/// Prints one line, and returns it as JSON. `work` is multiply-adds and bytes that have to be read.
fn report(name: &str, seconds: f64, (products, bytes): (f64, f64)) -> Value {
    let (arithmetic, reading) = (2.0 * products / seconds / 1e9, bytes / seconds / 1e9);
    println!("{name:<44} {:>10.3} ms {arithmetic:>9.1} GFLOP/s {reading:>8.1} GB/s", seconds * 1e3);
    json!({"name": name, "ms": seconds * 1e3, "gflops": arithmetic, "gb_per_s": reading})
}

fn linear(isa: Isa, rows: usize, (output, input): (usize, usize)) -> Value {
    let weight = vec![0.5; output * input];
    let linear = Linear::new(&weight, (output, input), None).with_isa(isa);
    drop(weight);
    let x = vec![0.25; rows * input];
    let mut y = vec![0.0; rows * output];
    let seconds = seconds(|| linear.forward(&x, &mut y));
    let work = (rows * output * input) as f64;
    report(
        &format!("{} linear {rows} x {input} -> {output}", isa.name()),
        seconds,
        (work, (output * input * 4) as f64),
    )
}

/// Each of `sequences` has `seen` positions, of which the last `count` ask.
fn attention(isa: Isa, heads: Heads, sequences: usize, (seen, count): (usize, usize)) -> Value {
    let blocks = seen.div_ceil(BLOCK_SIZE);
    let mut cache = PagedCache::new(heads, blocks * sequences).with_isa(isa);
    let tables: Vec<Vec<u32>> = (0..sequences)
        .map(|own| (0..blocks).map(|index| (index * sequences + own) as u32).collect())
        .collect();
    let floats = vec![0.1; seen * heads.kv_heads * heads.size];
    for table in &tables {
        cache.write(Span { start: 0, block_table: table }, &floats, &floats);
    }
    let queries = vec![0.1; count * heads.heads * heads.size];
    let start = seen - count;
    let chunks: Vec<Queries<'_>> = tables
        .iter()
        .map(|table| Queries { span: Span { start, block_table: table }, queries: &queries })
        .collect();
    let mut attended = vec![0.0; sequences * queries.len()];
    let seconds = seconds(|| cache.attend(&chunks, &mut attended));
    let pairs = count * start + count * (count + 1) / 2;
    let products = (sequences * pairs * heads.heads * heads.size * 2) as f64;
    let bytes = (sequences * seen * heads.kv_heads * heads.size * 8) as f64;
    let Heads { heads, kv_heads, size } = heads;
    let name = format!("{} attention {heads}/{kv_heads}x{size} {sequences} x {count} of {seen}", isa.name());
    report(&name, seconds, (products, bytes))
}

fn dense(isa: Isa, (heads, head_size, length): (usize, usize, usize)) -> Value {
    let floats = vec![0.1; length * heads * head_size];
    let mut attended = floats.clone();
    let dense = Dense { heads, head_size, length, queries: &floats, keys: &floats, values: &floats };
    let seconds = seconds(|| attend_all(&dense, isa, &mut attended));
    let work = ((length * floats.len() * 2) as f64, (floats.len() * 8) as f64);
    report(&format!("{} all to all {heads}x{head_size} of {length}", isa.name()), seconds, work)
}

fn main() {
    let memory = vec![1.0; 128 << 20];
    let mut lines = Vec::new();
    // The last set is there to be compared with, not to be fast.
    for isa in Isa::available().into_iter().filter(|isa| isa.name() != "portable") {
        let (arithmetic, reading) = (limits::arithmetic(isa), limits::reading(isa, &memory));
        println!("{} limits: {arithmetic:.1} GFLOP/s, {reading:.1} GB/s", isa.name());
        lines.push(
            json!({"name": format!("{} limits", isa.name()), "gflops": arithmetic, "gb_per_s": reading}),
        );
        for size in [1024, 4096] {
            lines.extend([1, 4, 8, 64, 512].map(|rows| linear(isa, rows, (size, size))));
        }
        lines.push(linear(isa, 1, (28_672, 4096)));
        for heads in [Heads { heads: 14, kv_heads: 2, size: 64 }, Heads { heads: 28, kv_heads: 4, size: 128 }]
        {
            lines.push(attention(isa, heads, 1, (512, 512)));
            lines.push(attention(isa, heads, 1, (4096, 512)));
            lines.push(attention(isa, heads, 1, (8192, 1)));
            lines.push(attention(isa, heads, 16, (4096, 1)));
        }
        lines.push(attention(isa, Heads { heads: 16, kv_heads: 16, size: 64 }, 1, (2048, 2048)));
        lines.push(dense(isa, (16, 72, 729)));
    }
    println!("{}", Value::from(lines));
}
