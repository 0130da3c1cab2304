//! What `/proc` said about processes.

use std::collections::BTreeMap;

use crate::facts::Process;

/// Clock ticks a second in `/proc/PID/stat`: `USER_HZ`, 100 on every architecture that runs OpenStack.
const TICKS: i64 = 100;

/// Parts of `/proc`, by path without the root: each is a list of NUL-separated records.
#[derive(Debug, Default)]
pub(super) struct Proc {
    records: BTreeMap<String, Vec<String>>,
}

impl Proc {
    /// Reads `grep -zaH ''`: `PATH:RECORD`, NUL after each. `root` is taken off the paths below it.
    pub(super) fn read(&mut self, body: &[u8], root: &str) {
        for record in body.split(|byte| *byte == 0) {
            let record = String::from_utf8_lossy(record);
            let Some((path, value)) = record.strip_prefix(root).unwrap_or(&record).split_once(':') else {
                continue;
            };
            self.records.entry(path.to_owned()).or_default().push(value.to_owned());
        }
    }

    /// The only record of a path.
    pub(super) fn one(&self, path: &str) -> Option<&str> {
        self.records.get(path)?.first().map(String::as_str)
    }

    fn all(&self, path: &str) -> &[String] {
        self.records.get(path).map_or(&[], Vec::as_slice)
    }

    /// When the host booted, seconds since the epoch.
    pub(super) fn booted_at(&self) -> Option<i64> {
        btime(self.one("/proc/stat")?)
    }

    /// How long the machine has been up, in seconds.
    pub(super) fn uptime(&self) -> Option<i64> {
        self.one("/proc/uptime")?.split(['.', ' ']).next()?.parse().ok()
    }

    /// The processes whose `stat` and command line were both read: one that ended meanwhile is left out.
    pub(super) fn processes(&self, booted_at: i64) -> BTreeMap<u32, Process> {
        self.records
            .keys()
            .filter_map(|path| path.strip_prefix("/proc/")?.strip_suffix("/cmdline")?.parse().ok())
            .filter_map(|pid| Some((pid, self.process(pid, booted_at)?)))
            .collect()
    }

    fn process(&self, pid: u32, booted_at: i64) -> Option<Process> {
        let (parent, ticks) = stat(self.one(&format!("/proc/{pid}/stat"))?)?;
        let mut argv = self.all(&format!("/proc/{pid}/cmdline")).to_vec();
        // A process that writes its own title leaves a tail of empty arguments.
        while argv.last().is_some_and(String::is_empty) {
            argv.pop();
        }
        let environ = self.all(&format!("/proc/{pid}/environ")).iter().filter_map(|entry| {
            let (name, value) = entry.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        });
        Some(Process {
            pid,
            parent,
            argv,
            environ: environ.collect(),
            cgroup: self.one(&format!("/proc/{pid}/cgroup")).map(cgroup).unwrap_or_default(),
            // `btime` is cut to seconds: rounded up, a start is never taken for earlier than a file's time.
            started_at: booted_at + (ticks + TICKS - 1) / TICKS,
            network_namespace: None,
            container: None,
            cwd: String::new(),
        })
    }
}

/// `btime` of `/proc/stat`.
pub(super) fn btime(stat: &str) -> Option<i64> {
    stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
}

/// Parent and start time in ticks since boot, from `/proc/PID/stat` (proc(5), fields 4 and 22). The
/// program's name in parentheses may hold spaces and parentheses.
fn stat(text: &str) -> Option<(u32, i64)> {
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    Some((fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

/// The control group: that of the unified hierarchy, or systemd's own where nothing is in that one.
fn cgroup(text: &str) -> String {
    let path = |want: &str| {
        text.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            (controllers == want).then(|| path.to_owned())
        })
    };
    path("")
        .filter(|path| path != "/")
        .or_else(|| path("name=systemd"))
        .or_else(|| path(""))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_read_past_any_program_name() {
        let tail = "S 7 32 32 0 -1 4194560 37073 506 0 0 408 306 0 0 20 0 20 0 153494 2302144512";
        for name in ["(beam.smp)", "(a b)", "(x) S 1 (y)", "())"] {
            assert_eq!(stat(&format!("32 {name} {tail}")), Some((7, 153_494)), "{name}");
        }
        assert_eq!(stat("32 (cut"), None);
    }

    #[test]
    fn the_control_group_is_the_one_that_systemd_uses() {
        let check = |text, expected| assert_eq!(cgroup(text), expected, "{text}");
        check("0::/system.slice/cinder-volume.service\n", "/system.slice/cinder-volume.service");
        check(
            "9:name=systemd:/x/payload\n1:cpu:/\n0::/x/system.slice/a.service\n",
            "/x/system.slice/a.service",
        );
        check(
            "3:cpu,cpuacct:/docker/1\n1:name=systemd:/system.slice/b.service\n0::/\n",
            "/system.slice/b.service",
        );
        check("0::/\n", "/");
        check("", "");
    }
}
