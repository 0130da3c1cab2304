//! Reading the facts of a host: one connection, at most two commands.
//!
//! The first command is a script (`script.sh`) that reads everything that is always wanted. The second, if
//! there is one, reads what only the first answer could name: configuration files in unusual places, AMQP
//! ports and virtual hosts of this deployment. [`READS`] is every program that runs on the host; none of
//! them writes.

mod answer;
mod content;
mod follow;
mod frame;
mod log;
mod process;
mod rabbit;
mod saved;
mod script;
pub mod search;
mod sockets;
mod units;
mod versions;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Read as _;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::audit::Cluster;
use crate::cmd::{Cmd, Output};
use crate::error::HostError;
use crate::event::{Event, Events};
use crate::facts::Facts;
pub use crate::facts::Question;
use crate::transport::Transport;
pub use saved::load;
use script::Ask;
pub use script::{PORTS, READS, SYSCTLS, Scope};

/// What to ask one host.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Inventory name.
    pub host: String,
    /// The folder that stands for `/` on the host (`trueup_root`).
    pub root: Option<String>,
    /// Ask as root. Without it some readings are unknown, and unknown is never compliant.
    pub r#become: bool,
    /// What the tasks ask beyond what is always read.
    pub questions: Vec<Question>,
}

/// Reads the facts of one host.
pub async fn probe<T: Transport>(transport: &T, request: &Request) -> Result<Facts, HostError> {
    read(transport, request, true).await
}

/// The same without asking the broker, which costs seconds of a processor: what it would say is unknown.
pub async fn glance<T: Transport>(transport: &T, request: &Request) -> Result<Facts, HostError> {
    read(transport, request, false).await
}

async fn read<T: Transport>(transport: &T, request: &Request, broker_too: bool) -> Result<Facts, HostError> {
    let root = request.root.as_deref().unwrap_or_default().trim_end_matches('/');
    let scope = Scope::known();
    let token = token()?;
    let no_containers = BTreeMap::new();
    let ask = Ask {
        token: &token,
        root,
        scope: Some(&scope),
        questions: &request.questions,
        ports: Some(PORTS),
        broker_too,
        ..Ask::nothing(&no_containers)
    };
    let output = run(transport, &ask, request.r#become).await?;
    let mut answer = answer::read(&request.host, &ask, &output.stdout)?;
    let mut wishes = follow::wishes(&answer);
    // The way into a container is known only now.
    wishes.questions.extend(request.questions.iter().filter(|question| in_container(question)).cloned());
    if !wishes.is_empty() {
        wishes
            .questions
            .extend(request.questions.iter().filter(|asked| **asked == Question::History).cloned());
        let containers = answer.inside.clone();
        let ask = Ask {
            token: &token,
            root,
            questions: &wishes.questions,
            ports: wishes.ports.as_deref(),
            environments: &wishes.environments,
            virtual_hosts: &wishes.virtual_hosts,
            broker: (&wishes.broker.0, wishes.broker.1),
            ..Ask::nothing(&containers)
        };
        let output = run(transport, &ask, request.r#become).await?;
        let more = answer::read(&request.host, &ask, &output.stdout)?;
        answer.extend(more);
        follow::keep_amqp(&mut answer.facts);
    }
    Ok(answer.facts)
}

fn in_container(question: &Question) -> bool {
    matches!(question, Question::Log { file: Some(file), .. } if file.starts_with("container:"))
}

async fn run<T: Transport>(transport: &T, ask: &Ask<'_>, r#become: bool) -> Result<Output, HostError> {
    let no_arguments: [&str; 0] = [];
    let output = transport.run(&Cmd::script(ask.script(), no_arguments).becoming(r#become)).await?;
    if output.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(HostError::CommandFailed {
        command: "sh".to_owned(),
        status: output.status,
        message: rabbit::last_words(&said),
    })
}

/// Reads many hosts, at most `forks` at once; a host that hangs holds one place and nothing else.
///
/// `connect` reaches a host by its place in `requests`. Dropping the future ends every host's command.
pub async fn probe_all<T, C, F>(requests: Vec<Request>, forks: usize, connect: C, events: &Events) -> Cluster
where
    T: Transport + 'static,
    C: Fn(usize) -> F,
    F: Future<Output = Result<T, HostError>> + Send + 'static,
{
    events(Event::ProbeStarted { hosts: requests.len() });
    let places = Arc::new(Semaphore::new(forks.max(1)));
    let mut hosts = JoinSet::new();
    for (number, request) in requests.into_iter().enumerate() {
        let (places, events, connection) = (Arc::clone(&places), Arc::clone(events), connect(number));
        hosts.spawn(async move {
            let _place = places.acquire_owned().await.expect("the semaphore is never closed");
            events(Event::Probing { host: request.host.clone() });
            let facts = async { probe(&connection.await?, &request).await }.await;
            let error = facts.as_ref().err().cloned();
            events(Event::Probed { host: request.host.clone(), error });
            (request.host, facts)
        });
    }
    let mut cluster = Cluster::new();
    while let Some(host) = hosts.join_next().await {
        match host {
            Ok((name, facts)) => {
                cluster.insert(name, facts);
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // Nobody aborts a task of this set but its own end.
            Err(_) => {}
        }
    }
    cluster
}

/// 128 random bits: no file of a host can hold it, so no file can end a frame.
fn token() -> Result<String, HostError> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|error| HostError::Malformed { message: format!("no random numbers: {error}") })?;
    Ok(hex::encode(bytes))
}
