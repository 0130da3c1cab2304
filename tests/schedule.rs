//! The timer: its units, what systemd is asked to do, and what is said of the last run. `systemctl` is a stub that
//! writes down what it is asked; the units themselves are judged by the real `systemd-analyze`, where there is one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::support::rig::{Answer, Rig};

/// Answers `show` from files, writes every call down.
const SYSTEMCTL: &str = r#"#!/bin/sh
here=${0%/*}
echo "$*" >>"$here/calls"
[ "$1" = --user ] && shift
case $1 in
show) cat "$here/${3#--property=}" 2>/dev/null ;;
esac
exit 0
"#;

struct Machine {
    rig: Rig,
    bin: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let rig = Rig::new(1);
        let bin = rig.folder.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("systemctl"), SYSTEMCTL).unwrap();
        fs::set_permissions(bin.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(bin.join("ActiveState"), "active\n").unwrap();
        fs::write(bin.join("NextElapseUSecRealtime"), "Sun 2026-11-22 15:00:00 UTC\n").unwrap();
        fs::write(bin.join("Result"), "success\n").unwrap();
        Self { rig, bin }
    }

    fn trueup(&self, words: &[&str]) -> Answer {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap());
        command
            .args(words)
            .current_dir(self.rig.folder.path())
            .env("PATH", path)
            .env("XDG_CONFIG_HOME", self.rig.folder.path().join("config"))
            .env("XDG_STATE_HOME", self.rig.folder.path().join("local"))
            .env_remove("ANSIBLE_INVENTORY")
            .env_remove("ANSIBLE_VAULT_PASSWORD_FILE")
            .env_remove("SUDO_USER")
            .stdin(std::process::Stdio::null());
        self.rig.finish(self.rig.spawn(command))
    }

    fn unit(&self, name: &str) -> PathBuf {
        self.rig.folder.path().join("config/systemd/user").join(name)
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.bin.join("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.bin.join("calls"));
        calls.lines().filter(|call| !call.contains(" show ")).map(str::to_owned).collect()
    }
}

const USER: &[&str] = &["--scope", "user"];

#[test]
fn a_schedule_is_installed_shown_and_removed() {
    let machine = Machine::new();
    machine
        .trueup(&[&["schedule", "status"], USER].concat())
        .exits(1)
        .says(&["no schedule is installed", "hint: "]);
    let install = [&["schedule", "install", "-i", "hosts", "--calendar", "*:0/15"], USER].concat();
    machine
        .trueup(&install)
        .exits(0)
        .answers(&["trueup-drift.timer is installed; next run: Sun 2026-11-22 15:00:00 UTC"])
        .says(&["there is no baseline yet"]);
    assert_eq!(
        machine.calls(),
        ["--user daemon-reload", "--user enable trueup-drift.timer", "--user restart trueup-drift.timer"]
    );
    let service = fs::read_to_string(machine.unit("trueup-drift.service")).unwrap();
    let hosts = machine.rig.folder.path().canonicalize().unwrap().join("hosts");
    assert!(service.contains(&format!(" drift -i {} ", hosts.display())), "{service}");
    assert!(service.contains(" --keep ${STATE_DIRECTORY}\n"), "{service}");
    for namespaced in ["ProtectSystem", "PrivateTmp", "ProtectHome", "User="] {
        assert!(!service.contains(namespaced), "{namespaced} in\n{service}");
    }
    let timer = fs::read_to_string(machine.unit("trueup-drift.timer")).unwrap();
    for line in ["OnCalendar=*:0/15", "RandomizedDelaySec=5min", "Persistent=true"] {
        assert!(timer.lines().any(|own| own == line), "{timer}");
    }

    let status = || machine.trueup(&[&["schedule", "status"], USER].concat());
    status().exits(0).answers(&["trueup-drift.timer, active", "Sun 2026-11-22 15:00:00 UTC", "none yet"]);
    // What the service runs, with the folder that systemd would name.
    let kept = machine.rig.folder.path().join("local/trueup-drift");
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    let drift = || machine.trueup(&["drift", "-i", "hosts", "--keep", kept.to_str().unwrap()]);
    drift().exits(2);
    status().exits(2).answers(&["exit code 2", "drift since ", "last.json"]);
    machine.rig.go(&["remediate"]).exits(0);
    drift().exits(0);
    status().exits(0).answers(&["exit code 0", "clean since "]);
    fs::write(machine.bin.join("Result"), "exit-code\n").unwrap();
    status().exits(1).answers(&["exit-code; `journalctl -u trueup-drift.service`"]);

    machine.calls();
    machine
        .trueup(&[&["schedule", "remove"], USER].concat())
        .exits(0)
        .answers(&["trueup-drift.timer is removed; what its runs kept is still in "]);
    assert_eq!(
        machine.calls(),
        [
            "--user disable --now trueup-drift.timer",
            "--user stop trueup-drift.service",
            "--user reset-failed trueup-drift.service",
            "--user clean --what=state trueup-drift.timer",
            "--user daemon-reload"
        ]
    );
    assert!(!machine.unit("trueup-drift.service").exists() && !machine.unit("trueup-drift.timer").exists());
    machine.trueup(&[&["schedule", "remove"], USER].concat()).exits(1).says(&["no schedule is installed"]);
    assert!(kept.join("last.json").exists());
    machine.trueup(&install).exits(0);
    machine
        .trueup(&[&["schedule", "remove", "--purge"], USER].concat())
        .exits(0)
        .answers(&["trueup-drift.timer is removed; so is what its runs kept"]);
    assert!(!kept.exists());
}

#[test]
fn what_cannot_work_at_night_is_refused_by_day() {
    let machine = Machine::new();
    let check = |words: &[&str], says: &[&str]| {
        let words = [&["schedule", "install", "-i", "hosts"], words, USER].concat();
        machine.trueup(&words).exits(1).says(says);
        assert!(!machine.unit("trueup-drift.timer").exists(), "{words:?}");
    };
    check(&["-k"], &["nobody is there to be asked for a password", "hint: "]);
    check(&["-K"], &["nobody is there to be asked"]);
    check(&["--vault-id", "lab@prompt"], &["nobody is there to be asked for a vault password"]);
    check(&["-e", "password=s3cret"], &["`-e password=…` would stand in a unit file", "-e @FILE"]);
    check(&["--run-as", "ops"], &["--run-as is for the machine's own systemd"]);
    check(&["--name", "a b"], &["`a b` is no name for a unit"]);
    check(&["--ssh-agent", "/tmp/ssh-x/agent.1"], &["ends with its login"]);
    check(&["none.yml"], &["none.yml"]);
    assert_eq!(machine.calls(), [""; 0]);
}

/// The units of the machine's scope, with everything in them that has to be quoted.
fn printed(machine: &Machine) -> (String, String) {
    machine.rig.file("vars.yml", "{}\n");
    let answer = machine.trueup(&[
        "schedule",
        "install",
        "-i",
        "hosts",
        "--scope",
        "system",
        "--print",
        "--run-as",
        "daemon",
        "--notify",
        "curl -s \"https://hook/?v=$TRUEUP_VERDICT&p=100%\" -d @-",
        "-e",
        "@vars.yml",
        "--limit",
        "all:!ctl9",
        "--report",
        "prometheus=drift.prom",
        "--ssh-agent",
        "%t/ssh-agent.socket",
    ]);
    answer.exits(0);
    let (service, timer) = answer.out.split_once("\n# /etc/systemd/system/trueup-drift.timer\n").unwrap();
    let service = service.split_once('\n').unwrap().1;
    (service.to_owned(), timer.to_owned())
}

#[test]
fn the_machines_units_are_hardened_and_keep_every_word() {
    let machine = Machine::new();
    let (service, timer) = printed(&machine);
    let folder = machine.rig.folder.path().canonicalize().unwrap();
    for line in [
        "User=daemon",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        "NoNewPrivileges=yes",
        "StateDirectory=trueup-drift",
        "SuccessExitStatus=2 4",
        "Environment=SSH_AUTH_SOCK=%t/ssh-agent.socket",
        &format!("ReadWritePaths={}", folder.display()),
        // What is named in /tmp must be seen there, and SSH has its sockets there in any case.
        if folder.starts_with("/tmp") { "ReadWritePaths=/tmp" } else { "PrivateTmp=yes" },
    ] {
        assert!(service.lines().any(|own| own == line), "no {line} in\n{service}");
    }
    for words in [
        "--notify \"curl -s \\\"https://hook/?v=$$TRUEUP_VERDICT&p=100%%\\\" -d @-\"",
        "--limit \"all:!ctl9\"",
        &format!("-e @{}", folder.join("vars.yml").display()),
        &format!("--report prometheus={}", folder.join("drift.prom").display()),
    ] {
        assert!(service.contains(words), "no {words} in\n{service}");
    }
    assert!(timer.contains("WantedBy=timers.target"), "{timer}");
    assert_eq!(machine.calls(), [""; 0], "--print asks systemd for nothing");
}

#[test]
fn systemd_accepts_the_units_and_finds_them_well_protected() {
    let analyze = |words: &[&str]| Command::new("systemd-analyze").args(words).output();
    let Ok(version) = analyze(&["--version"]) else { return };
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    // `security --offline` came with 250.
    let number = version.split_whitespace().nth(1).and_then(|word| word.parse::<u32>().ok());
    if number.is_none_or(|number| number < 250) {
        return;
    }
    let machine = Machine::new();
    let (service, timer) = printed(&machine);
    let service = machine.rig.file("trueup-drift.service", &service);
    let timer = machine.rig.file("trueup-drift.timer", &timer);
    let (service, timer) = (service.to_str().unwrap(), timer.to_str().unwrap());
    let verify = analyze(&["verify", "--man=no", service, timer]).unwrap();
    let said = String::from_utf8_lossy(&verify.stderr).into_owned();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("trueup-")).collect();
    assert_eq!(ours, [""; 0], "{said}");
    assert!(verify.status.success(), "{said}");
    // 0 is the best of 0 to 10; the network and the keys of the user are what is left.
    let security = analyze(&["security", "--offline=true", "--threshold=25", service]).unwrap();
    let told = String::from_utf8_lossy(&security.stdout).into_owned();
    assert!(security.status.success(), "{told}");
}
