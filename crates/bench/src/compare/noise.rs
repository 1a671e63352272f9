//! Whether anything else was at work on the machine while it was measured.

use std::fs;

use serde::Serialize;

/// What disturbed a run. Only Linux tells; elsewhere nothing is known.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Noise {
    /// Mean number of tasks that wanted to run in the minute before.
    pub load_before: Option<f64>,
    /// The same in the last minute.
    pub load_after: Option<f64>,
    /// Part of all processors' time that other programs had.
    pub others: Option<f64>,
    /// Part of all processors' time that the host gave to other machines.
    pub stolen: Option<f64>,
}

/// Watches from its start to its end.
#[derive(Debug)]
pub(crate) struct Watch {
    load: Option<f64>,
    ticks: Option<Ticks>,
}

/// Times since the machine's start, in ticks of the same clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    all: u64,
    busy: u64,
    stolen: u64,
    /// Of this process and of those that it started and that have ended.
    own: u64,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self { load: load(), ticks: Ticks::now() }
    }

    /// Everything that was started must have ended, or it counts as another's.
    pub(crate) fn end(self) -> Noise {
        let mut noise = Noise { load_before: self.load, load_after: load(), ..Noise::default() };
        if let (Some(before), Some(now)) = (self.ticks, Ticks::now()) {
            let all = (now.all - before.all).max(1) as f64;
            let others = (now.busy - before.busy).saturating_sub(now.own - before.own);
            noise.others = Some(others as f64 / all);
            noise.stolen = Some((now.stolen - before.stolen) as f64 / all);
        }
        noise
    }
}

fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

impl Ticks {
    fn now() -> Option<Self> {
        Self::read(&fs::read_to_string("/proc/stat").ok()?, &fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The first line of all: user, nice, system, idle, waiting, interrupts, soft interrupts, stolen. The process: its 14th
    /// to 17th fields, after a name in brackets that may have spaces.
    fn read(machine: &str, process: &str) -> Option<Self> {
        let fields = machine.lines().next()?.split_whitespace().skip(1).take(8);
        let fields: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
        let [user, nice, system, idle, waiting, hard, soft, stolen] = <[u64; 8]>::try_from(fields).ok()?;
        let own = process.rsplit_once(')')?.1.split_whitespace().skip(11).take(4);
        let own: Vec<u64> = own.map(str::parse).collect::<Result<_, _>>().ok()?;
        let busy = user + nice + system + hard + soft;
        Some(Self { all: busy + idle + waiting + stolen, busy, stolen, own: own.iter().sum() })
    }
}

#[cfg(test)]
mod tests {
    use super::Ticks;

    #[test]
    fn what_others_did_is_what_is_left() {
        let machine = "cpu  10 1 5 100 2 1 1 7 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        let process = "1 (a b) S 2 3 4 5 6 7 8 9 10 11 4 3 2 1 20 0";
        let read = Ticks::read(machine, process);
        assert_eq!(read, Some(Ticks { all: 127, busy: 18, stolen: 7, own: 10 }));
        assert_eq!(Ticks::read("cpu 1 2", process), None);
    }
}
