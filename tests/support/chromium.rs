//! A real browser: Chromium without a window, told what to do over a pipe (the DevTools protocol,
//! <https://chromedevtools.github.io/devtools-protocol/>).

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Names under which a Chromium is installed.
const NAMES: &[&str] = &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Nothing leaves the machine, and nothing is kept.
const ARGUMENTS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];

/// A browser with one page.
pub struct Chromium {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<Value>,
    /// What the page and the browser have told since the last page.
    pub events: Vec<Value>,
    number: u64,
    session: Option<String>,
    _profile: TempDir,
}

impl Chromium {
    /// A browser; `None` where there is none on this machine, which is said on standard error.
    pub fn start(what: &str) -> Option<Self> {
        let Some(program) = program() else {
            // Past the test harness, which keeps quiet about tests that pass.
            let _ = writeln!(
                std::io::stderr(),
                "\nNO CHROMIUM ON THIS MACHINE: NOT TESTED: {what}\nhint: sudo apt-get install chromium\n"
            );
            return None;
        };
        let profile = tempfile::Builder::new().prefix("trueup-chromium-").tempdir().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(program)
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, mut pipe) =
            (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (send, answers) = channel();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            while pipe.read_until(0, &mut text).is_ok_and(|read| read > 0) {
                text.pop();
                let _ = send.send(serde_json::from_slice(&text).unwrap());
                text.clear();
            }
        });
        let mut browser = Self {
            child,
            commands,
            answers,
            events: Vec::new(),
            number: 0,
            session: None,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", &attach);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    /// Sends a command and waits for its answer.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: &Value) -> Value {
        self.number += 1;
        let mut message = json!({"id": self.number, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).unwrap();
        loop {
            let mut answer = self.next();
            if answer["id"] == self.number {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        self.answers.recv_timeout(Duration::from_mins(2)).expect("the browser answers")
    }

    /// Opens a file, this wide, in the light or the dark scheme.
    #[track_caller]
    pub fn open(&mut self, path: &Path, width: u32, scheme: &str) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", &media);
        self.events.clear();
        self.call("Page.navigate", &json!({"url": format!("file://{}", path.display())}));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.next();
            self.events.push(event);
        }
    }

    /// What a script gives.
    #[track_caller]
    pub fn run(&mut self, script: &str) -> Value {
        let mut answer = self.call("Runtime.evaluate", &json!({"expression": script, "returnByValue": true}));
        assert!(answer.get("exceptionDetails").is_none(), "{answer:#}");
        answer["result"]["value"].take()
    }

    /// What the console, the policies and the network had to say about the page; each is a fault.
    pub fn complaints(&self) -> Vec<String> {
        let method = |event: &&Value| {
            let method = event["method"].as_str().unwrap_or_default();
            let elsewhere = || {
                let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
                !url.starts_with("file://") && !url.starts_with("data:")
            };
            matches!(method, "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded")
                || (method == "Network.requestWillBeSent" && elsewhere())
        };
        self.events.iter().filter(method).map(Value::to_string).collect()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.session = None;
        let message = json!({"id": 0, "method": "Browser.close"}).to_string() + "\0";
        // A browser that has gone already need not be closed.
        let _ = self.commands.write_all(message.as_bytes());
        while self.answers.recv_timeout(Duration::from_secs(10)).is_ok() {}
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}
