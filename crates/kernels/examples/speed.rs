//! Prints the speed of the kernels beside the limits of the machine, as a table and as JSON. An argument selects the
//! measurements that have it in their names.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::{Duration, Instant};

use kernels::{
    BLOCK_SIZE, Columns, Dense, Form, Heads, Isa, Linear, Matrix, PagedCache, Queries, Span, attend_all,
    limits,
};
use serde_json::{Value, json};

/// For how long each measurement is repeated.
const SPAN: Duration = Duration::from_millis(600);

/// The measurements so far.
struct Report {
    /// Only measurements with this text in their names are run.
    wanted: String,
    /// Memory that is read to measure the rate of reading.
    memory: Vec<f32>,
    /// The instruction set whose limits are known, and its limits: 10^9 operations and 10^9 bytes a second.
    limits: Option<(Isa, f64, f64)>,
    lines: Vec<Value>,
}

/// Returns the shortest time in seconds that `run` takes, since other work on the machine can only add to it.
fn least_seconds(mut run: impl FnMut()) -> f64 {
    run();
    let begin = Instant::now();
    let (mut seconds, mut rounds) = (f64::INFINITY, 0);
    while rounds < 5 || begin.elapsed() < SPAN {
        let begin = Instant::now();
        run();
        seconds = seconds.min(begin.elapsed().as_secs_f64());
        rounds += 1;
    }
    seconds
}

impl Report {
    /// Measures `run` and prints the result. `products` is its number of multiply-adds, `bytes` the bytes that it has
    /// to read.
    fn measure(&mut self, (isa, name): (Isa, &str), (products, bytes): (f64, f64), run: impl FnMut()) {
        let limits = self.limits(isa);
        let seconds = least_seconds(run);
        let (arithmetic, reading) = (2.0 * products / seconds / 1e9, bytes / seconds / 1e9);
        let parts = (arithmetic / limits.0, reading / limits.1);
        let (part, limit) =
            if parts.0 > parts.1 { (parts.0, "f32 arithmetic") } else { (parts.1, "reading") };
        println!(
            "{name:<46} {:>9.3} ms {arithmetic:>7.1} GFLOP/s {reading:>6.1} GB/s {:>4.0} % of {limit}",
            seconds * 1e3,
            part * 100.0
        );
        self.lines.push(json!({
            "name": name, "ms": seconds * 1e3, "gflops": arithmetic, "gb_per_s": reading,
            "part": part, "limit": limit,
        }));
    }

    /// Returns the limits of f32 arithmetic and of reading for `isa`, which are measured on first use.
    fn limits(&mut self, isa: Isa) -> (f64, f64) {
        match self.limits {
            Some((known, arithmetic, reading)) if known == isa => (arithmetic, reading),
            Some(_) | None => {
                let name = format!("{} limits", isa.name());
                let (arithmetic, reading) = (limits::arithmetic(isa), limits::reading(isa, &self.memory));
                println!("{name:<46} {:>12} {arithmetic:>7.1} GFLOP/s {reading:>6.1} GB/s", "");
                self.lines.push(json!({"name": name, "gflops": arithmetic, "gb_per_s": reading}));
                self.limits = Some((isa, arithmetic, reading));
                (arithmetic, reading)
            }
        }
    }

    /// Measures a product with weights of each form. The rate of reading counts the bytes of that form.
    fn linear(&mut self, isa: Isa, rows: usize, (output, input): (usize, usize)) {
        for (kind, form) in [
            ("f32", Form::Given),
            ("bf16", Form::Given),
            ("f16", Form::Given),
            ("q8", Form::Q8),
            ("q4", Form::Q4),
        ] {
            let name = format!("{} linear {kind} {rows} x {input} -> {output}", isa.name());
            if !name.contains(&self.wanted) {
                continue;
            }
            let (floats, bits) = (vec![0.5; output * input], vec![0x3800; output * input]);
            let weight = match kind {
                "bf16" => Matrix::Bf16(&bits),
                "f16" => Matrix::F16(&bits),
                _ => Matrix::F32(&floats),
            };
            let linear = Linear::with_form(weight, form, (output, input), None).with_isa(isa);
            let (x, mut y) = (vec![0.25; rows * input], vec![0.0; rows * output]);
            let work = ((rows * output * input) as f64, linear.size_bytes() as f64);
            self.measure((isa, &name), work, || linear.forward(&x, &mut y));
        }
    }

    /// Measures packing weights into panels, always with the widest set.
    fn packing(&mut self, (output, input): (usize, usize)) {
        let weight: Vec<f32> = (0..output * input).map(|index| (index * 7919 % 2003) as f32 / 2e4).collect();
        let bits: Vec<u16> = weight.iter().map(|float| (float.to_bits() >> 16) as u16).collect();
        let kinds =
            [("f32", Matrix::F32(&weight)), ("bf16", Matrix::Bf16(&bits)), ("f16", Matrix::F16(&bits))];
        for (kind, weight) in kinds {
            for form in [Form::Given, Form::Q8, Form::Q4] {
                let name = format!("{} pack {kind} {input} -> {output}, {form:?}", Isa::best().name());
                if name.contains(&self.wanted) {
                    let seconds =
                        least_seconds(|| drop(Linear::with_form(weight, form, (output, input), None)));
                    let rate = (output * input) as f64 / seconds / 1e6;
                    println!("{name:<46} {:>9.3} ms {rate:>7.0} million weights/s", seconds * 1e3);
                    self.lines
                        .push(json!({"name": name, "ms": seconds * 1e3, "million_weights_per_s": rate}));
                }
            }
        }
    }

    /// Measures attention of `sequences` sequences of `seen` positions, of which the last `count` are queries. All
    /// begin with the same `shared` blocks.
    fn attention(
        &mut self,
        isa: Isa,
        own: Heads,
        (sequences, shared): (usize, usize),
        (seen, count): (usize, usize),
    ) {
        let Heads { heads, kv_heads, size } = own;
        let what = if shared == 0 { "attention" } else { "shared" };
        let name = format!("{} {what} {heads}/{kv_heads}x{size} {sequences} x {count} of {seen}", isa.name());
        if !name.contains(&self.wanted) {
            return;
        }
        let blocks = seen.div_ceil(BLOCK_SIZE);
        let mut cache = PagedCache::new(own, blocks * sequences).with_isa(isa);
        let block = move |sequence, index| index * sequences + if index < shared { 0 } else { sequence };
        let table = |sequence| (0..blocks).map(move |index| block(sequence, index) as u32).collect();
        let tables: Vec<Vec<u32>> = (0..sequences).map(table).collect();
        let floats = vec![0.1; seen * kv_heads * size];
        let own = Columns::all(&floats, kv_heads * size);
        for table in &tables {
            cache.write(Span { start: 0, block_table: table }, own, own);
        }
        let queries = vec![0.1; count * heads * size];
        let start = seen - count;
        let own = Columns::all(&queries, heads * size);
        let chunk = |table| Queries { span: Span { start, block_table: table }, queries: own };
        let chunks: Vec<Queries<'_>> = tables.iter().map(|table| chunk(table)).collect();
        let mut attended = vec![0.0; sequences * queries.len()];
        let pairs = count * start + count * (count + 1) / 2;
        let products = (sequences * pairs * heads * size * 2) as f64;
        let read = sequences * seen - (sequences - 1) * shared * BLOCK_SIZE;
        let bytes = (read * kv_heads * size * 8) as f64;
        self.measure((isa, &name), (products, bytes), || cache.attend(&chunks, &mut attended));
    }

    fn dense(&mut self, isa: Isa, (heads, head_size, length): (usize, usize, usize)) {
        let name = format!("{} all to all {heads}x{head_size} of {length}", isa.name());
        if !name.contains(&self.wanted) {
            return;
        }
        let floats = vec![0.1; length * heads * head_size];
        let mut attended = floats.clone();
        let own = Columns::all(&floats, heads * head_size);
        let dense = Dense { heads, head_size, length, queries: own, keys: own, values: own };
        let work = ((length * floats.len() * 2) as f64, (floats.len() * 8) as f64);
        self.measure((isa, &name), work, || attend_all(&dense, isa, &mut attended));
    }
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let mut report = Report { wanted, memory: vec![1.0; 128 << 20], limits: None, lines: Vec::new() };
    // The last set is a reference and not meant to be fast.
    for isa in Isa::available().into_iter().filter(|isa| isa.name() != "portable") {
        for size in [1024, 4096] {
            for rows in [1, 2, 4, 8, 16, 32, 64, 512] {
                report.linear(isa, rows, (size, size));
            }
        }
        // So large that every weight is read from main memory.
        for rows in [1, 2, 4, 8, 16] {
            report.linear(isa, rows, (28_672, 4096));
        }
        for (heads, kv_heads, size) in [(8, 2, 64), (14, 2, 64), (28, 4, 128), (16, 16, 64)] {
            let heads = Heads { heads, kv_heads, size };
            for (sequences, positions) in [(1, (512, 512)), (1, (4096, 512)), (1, (8192, 1)), (16, (4096, 1))]
            {
                report.attention(isa, heads, (sequences, 0), positions);
            }
            // As when justifications are decoded for comparisons of responses about one image.
            report.attention(isa, heads, (20, 88), (3072, 1));
        }
        report.dense(isa, (16, 72, 729));
    }
    report.packing((4096, 4096));
    println!("{}", Value::from(report.lines));
}
