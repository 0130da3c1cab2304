//! The script calls what the table of reading programs holds and nothing else, and everything that may
//! hang is bounded.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::probe::answer;

/// Words that a shell runs by itself.
pub(in crate::probe) const BUILTINS: &[&str] = &[
    ":", "[", "break", "cd", "command", "continue", "exec", "exit", "export", "printf", "read", "return",
    "set", "shift", "umask", "unset",
];

/// Every simple command of a shell text, and every place that it writes to. Knows as much of the language
/// as the script uses.
#[derive(Default)]
pub(in crate::probe) struct Scan {
    pub commands: Vec<Vec<String>>,
    pub functions: BTreeSet<String>,
    pub writes: Vec<String>,
}

impl Scan {
    /// Reads up to the end, or to the `)` that closes a command substitution.
    pub fn read(&mut self, text: &mut std::iter::Peekable<std::str::Chars<'_>>, inner: bool) {
        let mut words: Vec<String> = Vec::new();
        let mut word: Option<String> = None;
        let mut writing = false;
        loop {
            let c = text.next();
            let ends_word = c.is_none_or(|c| " \t\n;|&()<>".contains(c));
            if ends_word && let Some(done) = word.take() {
                if writing {
                    self.writes.push(done);
                    writing = false;
                } else {
                    words.push(done);
                }
            }
            match c {
                None => return self.command(words),
                Some(' ' | '\t') => {}
                // `2>&1`, `>&3`: the number behind is the place.
                Some('&') if writing => word = Some("&".to_owned()),
                Some('\n' | ';' | '|' | '&') => self.command(std::mem::take(&mut words)),
                Some('>') => {
                    writing = true;
                    if words.last().is_some_and(|last| last.len() == 1 && last.parse::<u8>().is_ok()) {
                        words.pop();
                    }
                }
                Some('<') => {
                    // What is read from does no harm: the next word goes away with the writes of the
                    // same form, as `<&7` and `<FILE`.
                    let mut place = String::new();
                    while text.peek().is_some_and(|c| !" \t\n;|)".contains(*c)) {
                        place.extend(text.next());
                    }
                }
                Some('(') if text.peek() == Some(&')') => {
                    text.next();
                    self.functions.insert(words.pop().expect("a function has a name"));
                }
                Some('(') => panic!("a subshell is not expected"),
                Some(')') if inner => return self.command(words),
                // The end of a pattern of `case`.
                Some(')') => words.clear(),
                Some('#') if word.is_none() => while text.next_if(|c| *c != '\n').is_some() {},
                Some('\\') => {
                    if text.next() != Some('\n') {
                        word.get_or_insert_default().push('Q');
                    }
                }
                Some('\'') => {
                    let word = word.get_or_insert_default();
                    word.extend(text.by_ref().take_while(|c| *c != '\''));
                }
                Some('"') => {
                    let word = word.get_or_insert_default();
                    loop {
                        match text.next().expect("a quote is closed") {
                            '"' => break,
                            '\\' => word.extend(text.next()),
                            '$' => self.dollar(text, word),
                            c => word.push(c),
                        }
                    }
                }
                Some('$') => {
                    let mut inserted = word.take().unwrap_or_default();
                    self.dollar(text, &mut inserted);
                    word = Some(inserted);
                }
                Some(c) => word.get_or_insert_default().push(c),
            }
        }
    }

    fn dollar(&mut self, text: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut String) {
        word.push('$');
        match text.peek() {
            Some('(') => {
                text.next();
                if text.next_if_eq(&'(').is_some() {
                    // Arithmetic.
                    while !(text.next() == Some(')') && text.peek() == Some(&')')) {}
                    text.next();
                } else {
                    self.read(text, true);
                }
            }
            Some('{') => {
                let inner: String = text.by_ref().take_while(|c| *c != '}').collect();
                assert!(!inner.contains("$("), "a command in ${{…}} is not seen here: {inner}");
                word.push_str(&inner);
            }
            _ => {}
        }
    }

    fn command(&mut self, mut words: Vec<String>) {
        loop {
            let Some(first) = words.first() else { return };
            let assigned = first.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            });
            match first.as_str() {
                "for" | "case" | "esac" => return,
                "if" | "then" | "elif" | "else" | "fi" | "while" | "until" | "do" | "done" | "!" | "{"
                | "}" => {
                    words.remove(0);
                }
                _ if assigned => {
                    words.remove(0);
                }
                // Words in front that run the rest, or nothing.
                "$@" if words.len() > 1 => {
                    words.remove(0);
                }
                _ => break,
            }
        }
        // These run the words behind them.
        let behind = match words[0].as_str() {
            "within" => 2,
            "timeout" => 4,
            "sockets" => 1,
            _ => 0,
        };
        if behind > 0 && words.len() > behind {
            let mut inner = words.split_off(behind);
            inner.retain(|word| !matches!(word.as_str(), "$" | "$@"));
            words.truncate(1);
            self.command(inner);
        }
        self.commands.push(words);
    }
}

#[test]
fn the_script_calls_only_what_reads() {
    let mut scan = Scan::default();
    scan.read(&mut SCRIPT.chars().peekable(), false);
    let functions: BTreeSet<String> =
        scan.functions.iter().cloned().chain(["asked", "commands", "logs"].map(str::to_owned)).collect();
    let mut used = BTreeSet::new();
    for words in &scan.commands {
        let name = words[0].as_str();
        if BUILTINS.contains(&name) || matches!(name, "$" | "$@") {
            continue;
        }
        // RabbitMQ's tools, by what they are asked for; `ctl` itself is looked at where it is called.
        let asked = match words.as_slice() {
            [ctl, verb, ..] if ctl == "ctl" => Some(format!("rabbitmqctl {verb}")),
            [tool, program, quiet, verb, ..] if tool == "tool" && quiet == "-q" => {
                (!verb.starts_with('$')).then(|| format!("{program} {verb}"))
            }
            _ => None,
        };
        if let Some(asked) = asked {
            used.insert(asked);
            continue;
        }
        if functions.contains(name) {
            continue;
        }
        let fits = READS.iter().find(|read| match read.split_once(' ') {
            Some((program, verb)) => {
                program == name && words.get(1).is_some_and(|word| word.starts_with(verb))
            }
            None => **read == name,
        });
        used.insert(
            (*fits.unwrap_or_else(|| panic!("`{}` is not in the table", words.join(" ")))).to_owned(),
        );
    }
    assert_eq!(used, READS.iter().map(|read| (*read).to_owned()).collect(), "the table has what is used");
    assert!(scan.commands.len() > 200, "{}", scan.commands.len());
    for place in &scan.writes {
        assert!(place == "/dev/null" || place.starts_with('&'), "the script writes to `{place}`");
    }
}

#[test]
fn the_scan_finds_what_it_is_for() {
    let check = |text: &str, commands: &[&str], writes: &[&str]| {
        let mut scan = Scan::default();
        scan.read(&mut text.chars().peekable(), false);
        let mut found: Vec<&str> = scan.commands.iter().map(|words| words[0].as_str()).collect();
        found.sort_unstable();
        assert_eq!(
            (found.as_slice(), scan.writes.iter().map(String::as_str).collect::<Vec<_>>()),
            (commands, writes.to_vec()),
            "{text}"
        );
    };
    check("a b; c | d && e", &["a", "c", "d", "e"], &[]);
    check("x=\"$(rm -rf /)\"; y=$(mv a b)", &["mv", "rm"], &[]);
    check("if a; then b >c; fi", &["a", "b"], &["c"]);
    check("a 2>&1 >>log </etc/x # rm", &["a"], &["&1", "log"]);
    check("case $x in\n  a) rm b ;;\nesac", &["rm"], &[]);
    check("f() { rm a; }", &["rm"], &[]);
    check("within 5 rm a\ntimeout -k 2 5 rm a", &["rm", "rm", "timeout", "within"], &[]);
    check("echo \"a $((1 + 2)) $(rm b)\" 'rm c'", &["echo", "rm"], &[]);
}

#[test]
fn a_setting_is_found_below_proc() {
    let check = |key, expected| assert_eq!(sysctl_path(key), expected, "{key}");
    check("net.ipv4.tcp_retries2", "net/ipv4/tcp_retries2");
    check("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding");
    check("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding");
    check("plain", "plain");
}

#[test]
fn processes_of_services_are_known_by_one_argument() {
    let scope = Scope::known();
    let pattern = regex::Regex::new(&pattern(&scope)).unwrap();
    let check = |argument: &str, expected| assert_eq!(pattern.is_match(argument), expected, "{argument}");
    for argument in [
        "/usr/bin/cinder-volume",
        "cinder-volume",
        "neutron-server: api worker (/usr/bin/python3 /usr/bin/neutron-server --config-file x)",
        "/etc/cinder/cinder-api-uwsgi.ini",
        "(wsgi:cinder-api)",
        "/usr/lib/erlang/erts-13.1.5/bin/beam.smp",
    ] {
        check(argument, true);
    }
    for argument in
        ["/usr/bin/python3", "--config-file=/etc/cinder/cinder.conf", "/usr/bin/mycinder-volumes", ""]
    {
        check(argument, false);
    }
    assert!(scope.units.contains(&"rabbitmq-server.service".to_owned()));
    assert!(scope.units.contains(&"openstack-cinder-volume.service".to_owned()));
    assert!(!scope.projects.contains(&"rabbitmq".to_owned()));
}

#[test]
fn a_broker_that_hangs_is_unknown_and_costs_a_bounded_time() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    write("bin/rabbitmqctl", "#!/bin/sh\nsleep 60\n");
    write("proc/32/cmdline", "/usr/lib/erlang/erts-13/bin/beam.smp\0-s\0rabbit\0boot\0");
    write("proc/32/cgroup", "0::/system.slice/rabbitmq-server.service\n");
    write("proc/32/environ", "RABBITMQ_NODENAME=rabbit@ctl1\0");
    write("proc/32/stat", "32 (beam.smp) S 1 32 32 0 -1 0 0 0 0 0 0 0 0 0 20 0 20 0 100 0 0\n");
    let (scope, inside) = (Scope::known(), BTreeMap::new());
    let root = folder.path().display().to_string();
    let ask = Ask {
        token: "0123456789abcdef",
        root: &root,
        scope: Some(&scope),
        patience: 1,
        ..Ask::nothing(&inside)
    };
    let started = Instant::now();
    let mut shell =
        Command::new("sh").arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(ask.script().as_bytes()).unwrap();
    let answer = shell.wait_with_output().unwrap().stdout;
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let facts = answer::read("ctl1", &ask, &answer).unwrap().facts;
    assert_eq!(facts.rabbitmq.unknown(), Some("`rabbitmqctl cluster_status` did not answer in time"));
    assert_eq!(facts.processes.len(), 1);
}
