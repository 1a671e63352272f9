//! Whether other work ran on the machine during the measurements.

use std::fs;

use serde::Serialize;

/// Disturbances of a run. The values are `None` where the system does not report them; only Linux does.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Noise {
    /// The load average of the minute before the run: the mean number of runnable tasks.
    pub load_before: Option<f64>,
    /// The load average of the run's last minute.
    pub load_after: Option<f64>,
    /// The fraction of all processors' time that other programs used.
    pub others: Option<f64>,
    /// The fraction of all processors' time that the hypervisor gave to other machines.
    pub stolen: Option<f64>,
}

/// Measures disturbances from its start to its end.
#[derive(Debug)]
pub(crate) struct Watch {
    load: Option<f64>,
    ticks: Option<Ticks>,
}

/// Times since the machine's start, in ticks of one clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    all: u64,
    busy: u64,
    stolen: u64,
    /// Time of this process, and of its child processes that have ended.
    own: u64,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self { load: load(), ticks: Ticks::now() }
    }

    /// Ends the measurement. Child processes must have ended; otherwise their time counts as that of other
    /// programs.
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

    /// Reads the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal; and the
    /// 14th to 17th fields of `/proc/self/stat`, which follow a name in parentheses that may contain spaces.
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
