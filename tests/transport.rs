//! Commands on a real sshd.

use std::time::{Duration, Instant};

use indexmap::IndexMap;
use serde_json::{Value, json};
use trueup::cmd::{Cmd, Output};
use trueup::error::HostError;
use trueup::transport::{Connected, Flags, Target, Transport, connect};

use crate::support::sshd::{
    PASSWORD_USER, SUDO_FREE, SUDO_REFUSES, SUDO_WANTS_PASSWORD, Sshd, may_unshare, processes_with,
    sudo_with_password,
};

fn target(mut vars: IndexMap<String, Value>, more: &Value) -> Target {
    for (key, value) in more.as_object().unwrap() {
        vars.insert(key.clone(), value.clone());
    }
    Target::from_vars("ctl1", &vars, &Flags::default()).unwrap()
}

async fn ask(sshd: &Sshd, more: &Value, cmd: &Cmd) -> Result<Output, HostError> {
    connect(&target(sshd.vars(), more)).await?.run(cmd).await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits for something that happens soon.
async fn soon(what: &str, mut check: impl FnMut() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A word that no other process has on its command line.
fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("1000.{:07}{:04}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn answers_are_exact(host: &Connected) {
    let sh = |script: &str| Cmd::new(["sh", "-c", script]);
    for (cmd, status, stdout, stderr) in [
        (Cmd::new(["echo", "a b", "$HOME", "it's", "*"]), 0, "a b $HOME it's *\n", ""),
        (Cmd::new(["printf", "%s", "a\nb"]), 0, "a\nb", ""),
        (sh("echo out; echo err >&2; exit 3"), 3, "out\n", "err\n"),
        (sh("exit 255"), 255, "", ""),
        (sh("exit 127"), 127, "", ""),
        (sh("kill -9 $$"), 137, "", ""),
        (Cmd::new(["cat"]).with_stdin("in\n"), 0, "in\n", ""),
        (Cmd::new(["cat"]), 0, "", ""),
        (Cmd::new(["true"]).with_stdin(vec![b'x'; 1 << 20]), 0, "", ""),
        (Cmd::script("echo \"$1\"; exit 4\n", ["it's"]), 4, "it's\n", ""),
    ] {
        let output = host.run(&cmd).await.unwrap();
        let got = (output.status, text(&output.stdout), text(&output.stderr));
        assert_eq!(got, (status, stdout.to_owned(), stderr.to_owned()), "{cmd:?}");
    }
    let bytes: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    let output = host.run(&Cmd::new(["cat"]).with_stdin(bytes.clone())).await.unwrap();
    assert!(output.stdout == bytes, "3 MiB of every byte come back");
    let missing = host.run(&Cmd::new(["no-such-program"])).await.unwrap();
    assert_eq!(missing.status, 127);
    assert!(text(&missing.stderr).contains("not found"), "{}", text(&missing.stderr));
}

#[tokio::test]
async fn ssh_answers_exactly() {
    let sshd = Sshd::start();
    answers_are_exact(&connect(&target(sshd.vars(), &json!({}))).await.unwrap()).await;
}

#[tokio::test]
async fn local_answers_exactly() {
    let vars = IndexMap::from([("ansible_connection".to_owned(), json!("local"))]);
    answers_are_exact(&connect(&target(vars, &json!({}))).await.unwrap()).await;
}

#[tokio::test]
async fn sixteen_commands_at_once_all_answer() {
    let sshd = Sshd::builder().config("MaxSessions 2").start();
    let host = connect(&target(sshd.vars(), &json!({}))).await.unwrap();
    let host = std::sync::Arc::new(host);
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..16 {
        let host = host.clone();
        tasks.spawn(async move { (n, host.run(&Cmd::new(["echo", &n.to_string()])).await.unwrap()) });
    }
    for (n, output) in tasks.join_all().await {
        assert_eq!(text(&output.stdout), format!("{n}\n"));
    }
}

#[tokio::test]
async fn sudo_in_all_its_moods() {
    let whoami = Cmd::new(["sh", "-c", "cat; echo done"]).with_stdin("input\n").becoming(true);
    let refused = || HostError::SudoRefused { message: "ops is not in the sudoers file.".into() };
    let with = sudo_with_password("s3cr et");
    for (stub, vars, expected) in [
        (SUDO_FREE, json!({}), Ok("input\ndone\n")),
        (SUDO_FREE, json!({"ansible_become_password": "unused"}), Ok("input\ndone\n")),
        (SUDO_WANTS_PASSWORD, json!({}), Err(HostError::SudoPassword)),
        (SUDO_REFUSES, json!({}), Err(refused())),
        (&with, json!({}), Err(HostError::SudoPassword)),
        (&with, json!({"ansible_become_password": "s3cr et"}), Ok("input\ndone\n")),
        (&with, json!({"ansible_become_password": "wrong"}), Err(HostError::SudoPassword)),
    ] {
        let sshd = Sshd::start();
        sshd.stub("sudo", stub);
        let got = ask(&sshd, &vars, &whoami).await.map(|output| text(&output.stdout));
        assert_eq!(got, expected.map(str::to_owned), "{stub} {vars}");
    }
}

#[tokio::test]
async fn each_way_to_fail_has_its_name() {
    let sshd = Sshd::start();
    let check = async |vars: Value| ask(&sshd, &vars, &Cmd::new(["true"])).await.unwrap_err();
    let address = || "127.0.0.1".to_owned();

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(
        check(json!({"ansible_port": free})).await,
        HostError::Refused { address: address(), port: free }
    );

    let name = "no-such-host.invalid";
    assert_eq!(
        check(json!({"ansible_host": name})).await,
        HostError::NameNotResolved { address: name.into() }
    );

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let start = Instant::now();
    let error = check(json!({"ansible_port": port, "ansible_timeout": 1})).await;
    assert_eq!(error, HostError::ConnectTimeout { address: address(), seconds: 1 });
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());

    // A server that says who it is and then nothing: ssh itself would wait for ever.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = mute.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"SSH-2.0-mute\r\n").unwrap();
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap_or_default()
    });
    let error = check(json!({"ansible_port": port, "ansible_timeout": 1})).await;
    assert_eq!(error, HostError::Deadline { seconds: 2, doing: "logging in".into() });
    assert!(thread.join().unwrap() > 0, "ssh spoke, and is gone");

    let other = Sshd::start();
    sshd.write_ssh_config("user_key", "none");
    assert_eq!(check(json!({})).await, HostError::HostKeyUnknown { address: address(), port: sshd.port() });
    let lenient = json!({"ansible_host_key_checking": false});
    assert!(ask(&sshd, &lenient, &Cmd::new(["true"])).await.unwrap().success());

    let wrong = std::fs::read_to_string(other.path("host_key.pub")).unwrap();
    std::fs::write(sshd.path("changed"), format!("[127.0.0.1]:{} {wrong}", sshd.port())).unwrap();
    sshd.write_ssh_config("user_key", "changed");
    assert_eq!(check(json!({})).await, HostError::HostKeyChanged { address: address(), port: sshd.port() });

    std::fs::copy(other.path("user_key"), sshd.path("wrong_key")).unwrap();
    sshd.write_ssh_config("wrong_key", "known_hosts");
    assert_eq!(check(json!({})).await, HostError::Authentication { user: String::new() });
}

#[tokio::test]
async fn a_passphrase_reaches_ssh_and_a_wrong_one_does_not_hang() {
    let sshd = Sshd::builder().passphrase("open sesame").start();
    let refused = || HostError::Authentication { user: String::new() };
    for (vars, expected) in [
        (json!({"ansible_ssh_private_key_passphrase": "open sesame"}), Ok(0)),
        (json!({"ansible_ssh_private_key_passphrase": "wrong"}), Err(refused())),
        (json!({"ansible_password": "open sesame"}), Err(refused())),
        (json!({}), Err(refused())),
    ] {
        let got = ask(&sshd, &vars, &Cmd::new(["true"])).await.map(|output| output.status);
        assert_eq!(got, expected, "{vars}");
    }
}

#[tokio::test]
async fn a_password_reaches_ssh_and_a_wrong_one_does_not_hang() {
    let (user, password) = PASSWORD_USER;
    let vars = |word: &str| json!({"ansible_user": user, "ansible_password": word});
    // Without rights to add a user there is no password that is right.
    let (sshd, right) = if may_unshare() {
        (Sshd::builder().password_user().start(), Ok(format!("{user}\n")))
    } else {
        (Sshd::start(), Err(HostError::Authentication { user: user.to_owned() }))
    };
    sshd.write_ssh_config("none", "known_hosts");
    let whoami = Cmd::new(["id", "-un"]);
    let got = ask(&sshd, &vars(password), &whoami).await.map(|output| text(&output.stdout));
    assert_eq!(got, right);
    let got = ask(&sshd, &vars("wrong"), &whoami).await.unwrap_err();
    assert_eq!(got, HostError::Authentication { user: user.to_owned() });
}

#[tokio::test]
async fn a_jump_host_of_the_user_is_used() {
    let sshd = Sshd::start();
    let config = std::fs::read_to_string(sshd.path("ssh_config")).unwrap();
    let jump = format!(
        "Host ctl1\n  HostName 127.0.0.1\n  ProxyJump jump\nHost jump ctl1\n  HostName 127.0.0.1\n  Port {}\n",
        sshd.port()
    );
    std::fs::write(sshd.path("ssh_config"), jump + &config).unwrap();
    let alias = json!({"ansible_host": "ctl1", "ansible_port": null});
    let host = connect(&target(sshd.vars(), &alias)).await.unwrap();
    assert!(host.run(&Cmd::new(["true"])).await.unwrap().success());
    assert_eq!(sshd.connections(), 2, "one to jump, one behind it");
    host.close().await;
    soon("the end of both", || sshd.connections() == 0).await;
}

/// Runs `sleep` with a shell and a child of its own around it, and a TERM that is ignored.
fn stubborn(token: &str) -> Cmd {
    Cmd::new(["sh", "-c", "trap '' TERM; (sleep $0; true); true", token])
}

#[tokio::test]
async fn giving_up_ends_the_command_on_the_host() {
    let sshd = Sshd::start();
    sshd.stub("sudo", SUDO_FREE);
    let remote = connect(&target(sshd.vars(), &json!({}))).await.unwrap();
    let local = json!({"ansible_connection": "local", "ansible_become_exe": sshd.path("bin/sudo")});
    let local = connect(&target(IndexMap::new(), &local)).await.unwrap();
    let give_up = async |host: &Connected, cmd: fn(&str) -> Cmd| {
        let token = unique();
        let cmd = cmd(&token);
        tokio::select! {
            answer = host.run(&cmd) => panic!("{cmd:?} ended: {answer:?}"),
            () = soon("the command", || processes_with(&token).len() > 2) => {}
        }
        soon("the end of the command", || processes_with(&token).is_empty()).await;
    };
    for host in [&remote, &local] {
        tokio::join!(
            give_up(host, |token| Cmd::new(["sleep", token])),
            give_up(host, stubborn),
            give_up(host, |token| stubborn(token).becoming(true)),
            give_up(host, |token| Cmd::script("sleep \"$1\"\n", [token])),
            give_up(host, |token| Cmd::new(["sleep", token]).with_stdin(vec![b'x'; 60_000])),
            give_up(host, |token| {
                Cmd::new(["sh", "-c", "cat >/dev/null; sleep $0", token]).with_stdin(vec![b'x'; 1 << 20])
            }),
        );
        assert!(host.run(&Cmd::new(["true"])).await.unwrap().success(), "the connection is still good");
    }
}

#[tokio::test]
async fn a_deadline_ends_the_command_on_the_host() {
    let sshd = Sshd::start();
    let token = unique();
    let cmd = Cmd::new(["sleep", &token]).within(Duration::from_secs(1));
    assert_eq!(
        ask(&sshd, &json!({}), &cmd).await.unwrap_err(),
        HostError::Deadline { seconds: 1, doing: format!("running `sleep {token}`") }
    );
    soon("the end of the command", || processes_with(&token).is_empty()).await;
    soon("the end of the connection", || sshd.connections() == 0).await;
}

#[tokio::test]
async fn a_cut_connection_is_told_and_ends_the_command_on_the_host() {
    let sshd = Sshd::start();
    let host = connect(&target(sshd.vars(), &json!({}))).await.unwrap();
    let token = unique();
    let cmd = Cmd::new(["sleep", &token]);
    let (answer, ()) = tokio::join!(host.run(&cmd), async {
        soon("the command", || processes_with(&token).len() > 2).await;
        sshd.cut();
    });
    let lost = HostError::Disconnected { doing: format!("running `sleep {token}`") };
    assert_eq!(answer.unwrap_err(), lost);
    soon("the end of the command", || processes_with(&token).is_empty()).await;
    let next = host.run(&Cmd::new(["true"])).await.unwrap_err();
    assert_eq!(next, HostError::Disconnected { doing: "running `true`".into() });
}

#[tokio::test]
async fn an_input_that_is_cut_off_is_never_taken_for_a_whole_one() {
    let sshd = Sshd::start();
    let host = connect(&target(sshd.vars(), &json!({}))).await.unwrap();
    let (ready, done) = (sshd.root().join("ready"), sshd.root().join("done"));
    // It reads a little, then waits, so that the rest of the input is still under way.
    let script = "head -c 1 >$0; sleep 1; cat >>$0 && mv $0 $1";
    let argv = ["sh", "-c", script, ready.to_str().unwrap(), done.to_str().unwrap()];
    let cmd = Cmd::new(argv).with_stdin(vec![b'x'; 8 << 20]);
    let (answer, ()) = tokio::join!(host.run(&cmd), async {
        soon("the first byte", || std::fs::metadata(&ready).is_ok_and(|file| file.len() == 1)).await;
        sshd.cut();
    });
    assert!(matches!(answer, Err(HostError::Disconnected { .. })), "{answer:?}");
    soon("the end of the command", || processes_with(done.to_str().unwrap()).is_empty()).await;
    assert!(!done.exists());
}

#[tokio::test]
async fn dropping_a_connection_or_an_attempt_leaves_no_ssh() {
    let sshd = Sshd::start();
    let port = format!("Port={}", sshd.port());
    let host = connect(&target(sshd.vars(), &json!({}))).await.unwrap();
    assert_eq!(processes_with(&port).len(), 1);
    drop(host);
    soon("the end of ssh", || processes_with(&port).is_empty()).await;

    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let target = target(sshd.vars(), &json!({"ansible_port": port}));
    let port = format!("Port={port}");
    tokio::select! {
        answer = connect(&target) => panic!("{answer:?}"),
        () = soon("ssh", || !processes_with(&port).is_empty()) => {}
    }
    soon("the end of ssh", || processes_with(&port).is_empty()).await;
}

/// OpenSSH 9.2 misses a TERM that comes just before it polls, and then sleeps until something happens.
#[tokio::test]
async fn an_ssh_that_falls_asleep_ends_with_its_connection() {
    let sshd = Sshd::start();
    let port = format!("Port={}", sshd.port());
    // Nothing happens by itself.
    let target = target(sshd.vars(), &json!({"ansible_ssh_extra_args": "-o ServerAliveInterval=0"}));
    for _ in 0..40 {
        let host = connect(&target).await.unwrap();
        assert!(host.run(&Cmd::new(["true"])).await.unwrap().success());
        drop(host);
    }
    soon("the end of ssh", || processes_with(&port).is_empty()).await;
}

/// The fixture's own line, for whoever writes an inventory with it.
#[test]
fn the_fixture_is_an_inventory_line() {
    let sshd = Sshd::start();
    let line = sshd.inventory_vars();
    assert!(line.starts_with(&format!("ansible_host='127.0.0.1' ansible_port={} ", sshd.port())), "{line}");
    assert!(line.ends_with(&format!("trueup_root='{}'", sshd.root().display())), "{line}");
}

/// The test starts itself a second time as the victim.
#[tokio::test]
async fn a_kill_without_warning_leaves_nothing() {
    const VICTIM: &str = "TRUEUP_TEST_VICTIM";
    if let Ok(vars) = std::env::var(VICTIM) {
        let host = connect(&target(serde_json::from_str(&vars).unwrap(), &json!({}))).await.unwrap();
        let answer = host.run(&Cmd::new(["sleep", &std::env::var("TRUEUP_TEST_TOKEN").unwrap()])).await;
        panic!("{answer:?}");
    }
    let sshd = Sshd::start();
    let (token, port) = (unique(), format!("Port={}", sshd.port()));
    let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "transport::a_kill_without_warning_leaves_nothing"])
        .env(VICTIM, serde_json::to_string(&sshd.vars()).unwrap())
        .env("TRUEUP_TEST_TOKEN", &token)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    soon("the command", || processes_with(&token).len() > 2).await;
    let master = processes_with(&port)[0];
    let line = std::fs::read_to_string(format!("/proc/{master}/cmdline")).unwrap();
    let socket =
        std::path::Path::new(line.split('\0').find(|word| word.ends_with("/ctl")).unwrap()).to_owned();
    assert!(socket.exists());
    victim.kill().unwrap();
    victim.wait().unwrap();
    soon("the end of ssh", || processes_with(&port).is_empty()).await;
    soon("the end of the command", || processes_with(&token).is_empty()).await;
    let directory = socket.ancestors().nth(2).unwrap();
    soon("the end of the directory", || !directory.exists()).await;
}
