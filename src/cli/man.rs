//! `trueup man`: the manual pages, made from the command line's own description.

use std::path::Path;

use clap::CommandFactory as _;

use crate::cli::args::Cli;
use crate::cli::output::Output;
use crate::error::{Diagnostic, Exit, Result};

/// Prints all pages, or writes each into a file of `folder`.
pub fn run(folder: Option<&Path>, output: Output) -> Result<Exit> {
    let Some(folder) = folder else {
        output.answer(&pages().into_iter().map(|(_, text)| text).collect::<String>());
        return Ok(Exit::Compliant);
    };
    let fault = |path: &Path, error: &std::io::Error| {
        Diagnostic::new(format!("`{}` cannot be written: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(|error| fault(folder, &error))?;
    for (name, text) in pages() {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| fault(&path, &error))?;
        output.answer(&format!("{}\n", path.display()));
    }
    Ok(Exit::Compliant)
}

/// The page of `trueup` and of each command, by file name.
fn pages() -> Vec<(String, String)> {
    let mut command = Cli::command();
    command.build();
    let commands = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    let page = |command: clap::Command| {
        let page = clap_mangen::Man::new(command);
        let mut text = Vec::new();
        page.render(&mut text).expect("writing to memory does not fail");
        (page.get_filename(), String::from_utf8(text).expect("a page is UTF-8"))
    };
    std::iter::once(command.clone()).chain(commands.cloned()).map(page).collect()
}
