//! Completions and manual pages: made from the command line itself, whole, and what shells and `man` can read.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::CommandFactory as _;
use tempfile::TempDir;
use trueup::cli::args::Cli;

fn trueup(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_trueup")).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every command that is shown, with its long options.
fn commands() -> Vec<(String, Vec<String>)> {
    let mut cli = Cli::command();
    cli.build();
    let shown = cli.get_subcommands().filter(|command| !command.is_hide_set());
    let options = |command: &clap::Command| {
        let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set());
        arguments.filter_map(|argument| argument.get_long().map(str::to_owned)).collect()
    };
    shown.map(|command| (command.get_name().to_owned(), options(command))).collect()
}

/// Runs a program that may be missing; `None`, loudly, where it is.
fn run(program: &str, words: &[&str], input: &str) -> Option<(bool, String)> {
    let child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        // Past the test harness, which keeps quiet about tests that pass.
        let _ =
            writeln!(std::io::stderr(), "\nNO {program} ON THIS MACHINE: what is made for it is not run\n");
        return None;
    };
    // A program that does not read all of it says so with its answer.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8(said).unwrap()))
}

#[test]
fn a_completion_knows_every_command_and_option() {
    for shell in ["bash", "zsh", "fish"] {
        let script = trueup(&["completions", shell]);
        for (command, options) in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
            for option in options {
                let written = if shell == "fish" { format!("-l {option}") } else { format!("--{option}") };
                assert!(script.contains(&written), "{shell}: {command} --{option}");
            }
        }
    }
}

#[test]
fn shells_take_their_completions_and_complete_with_them() {
    let folder = TempDir::new().unwrap();
    let script = |shell: &str| {
        let path = folder.path().join(format!("_trueup.{shell}"));
        std::fs::write(&path, trueup(&["completions", shell])).unwrap();
        path.display().to_string()
    };
    let check = |shell: &str, words: &[&str], input: &str, expected: &[&str]| {
        let Some((success, said)) = run(shell, words, input) else { return };
        assert!(success, "{shell}: {said}");
        for word in expected {
            assert!(said.split_whitespace().any(|known| known == *word), "{shell}: no {word} in {said}");
        }
    };
    let bash = script("bash");
    let ask = |words: &str, at: usize| {
        format!(
            ". {bash}; COMP_WORDS=({words}); COMP_CWORD={at}; _trueup trueup \"${{COMP_WORDS[{at}]}}\" \
             \"${{COMP_WORDS[{at} - 1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        )
    };
    check("bash", &["--norc", "-s"], &ask("trueup au", 1), &["audit"]);
    check("bash", &["--norc", "-s"], &ask("trueup audit --rep", 2), &["--report"]);
    check("bash", &["--norc", "-s"], &ask("trueup audit --format ht", 3), &["html"]);
    check("zsh", &["-n", &script("zsh")], "", &[]);
    let fish =
        format!("source {}; complete -C 'trueup au'; complete -C 'trueup audit --rep'", script("fish"));
    check("fish", &["--no-config", "-c", &fish], "", &["audit", "--report"]);
}

#[test]
fn there_is_a_manual_page_for_every_command_that_says_all_its_options() {
    let folder = TempDir::new().unwrap();
    let written = trueup(&["man", "--dir", folder.path().to_str().unwrap()]);
    let whole = trueup(&["man"]);
    for (command, options) in commands() {
        if command == "help" {
            continue;
        }
        let path = folder.path().join(format!("trueup-{command}.1"));
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(written.contains(&path.display().to_string()) && whole.contains(&page));
        for option in options {
            let dashed = format!("\\-\\-{}", option.replace('-', "\\-"));
            assert!(page.contains(&dashed), "{command}: {dashed}");
        }
        lint(&path);
    }
    lint(&folder.path().join("trueup.1"));
}

/// No page has an error for mandoc.
fn lint(path: &Path) {
    let words = ["-T", "lint", "-W", "error", path.to_str().unwrap()];
    if let Some((success, said)) = run("mandoc", &words, "") {
        assert!(success && said.is_empty(), "{said}");
    }
}
