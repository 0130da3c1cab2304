//! Reading the facts of a host: one connection, at most two commands.

/// Something a task wants to know beyond what is always read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// A file, by its absolute path on the host.
    File(String),
    /// Every file of a folder whose name ends so (`.conf`).
    Folder {
        /// Absolute path.
        path: String,
        /// Ending of the names that are read.
        suffix: String,
    },
    /// A live kernel setting, by dotted name.
    Sysctl(String),
    /// A systemd unit.
    Unit(String),
    /// A read-only command of the playbook.
    Command {
        /// Under which its answer is found in `Facts::commands`.
        id: String,
        /// Program and arguments, no shell.
        argv: Vec<String>,
    },
}
