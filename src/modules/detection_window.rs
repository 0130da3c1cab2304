//! `detection_window`: every dead connection is noticed before the callers give up.

use super::{AS_ROOT, Arguments, Context, Kind, Module, Outcome};
use crate::audit::windows::{Measured, Pair};
use crate::audit::{Evidence, Finding, Level};
use crate::error::Result;
use crate::probe::Question;
use crate::timing::{
    Connection, Consumer, Decider, Strategy, SurvivableAge, Window, duration, solve, window,
};

/// `detection_window: {survivable_age: 15, strategy: heartbeat}`
pub const KIND: Kind = Kind {
    name: "detection_window",
    aliases: &[],
    arguments: &["survivable_age", "margin", "strategy"],
    summary: "every dead connection is noticed before the callers give up",
    parse,
};

/// The survivable age that is wanted where the task names none, in seconds.
const AGE: f64 = 15.0;

#[derive(Debug)]
struct DetectionWindow {
    /// Seconds.
    age: f64,
    strategy: Strategy,
}

fn parse(arguments: &Arguments) -> Result<Box<dyn Module>> {
    let age = match (arguments.seconds("survivable_age")?, arguments.seconds("margin")?) {
        (Some(_), Some(_)) => {
            return Err(arguments.error("margin", "`margin` is an old word for `survivable_age`: give one"));
        }
        (age, margin) => age.or(margin).unwrap_or(AGE),
    };
    let strategy = match arguments.text("strategy")? {
        None => Strategy::default(),
        Some(name) => Strategy::parse(&name).ok_or_else(|| {
            arguments
                .error("strategy", format!("unknown strategy `{name}`"))
                .suggest(&name, Strategy::ALL.map(Strategy::name))
        })?,
    };
    Ok(Box::new(DetectionWindow { age, strategy }))
}

impl DetectionWindow {
    /// The survivable age that the strategy promises: not every strategy covers a client that has not
    /// noticed the cut, or a reply in flight; choosing it accepts that.
    fn age_of(&self, measured: &Measured) -> SurvivableAge {
        let window = &measured.window;
        match self.strategy {
            Strategy::Heartbeat | Strategy::RpcTimeout => window.survivable_age,
            Strategy::Retries2 => window.survivable_age_noticed,
            Strategy::Keepalive => match (window.rpc_response_timeout, window.idle.worst) {
                (_, None) => SurvivableAge::Never,
                (None, Some(_)) => SurvivableAge::Unlimited,
                (Some(timeout), Some(worst)) => SurvivableAge::Seconds(timeout - worst),
            },
        }
    }

    fn holds(&self, pair: &Pair) -> bool {
        pair.outcome.as_ref().is_ok_and(|measured| self.age_of(measured).reaches(self.age))
    }

    /// The same pair after every other task's changes of this run.
    fn will_hold(&self, context: &Context<'_>, pair: &Pair) -> bool {
        let then = context.windows_after.get(context.host).into_iter().flatten();
        let mut same =
            then.filter(|then| then.service == pair.service && then.broker == pair.broker).peekable();
        same.peek().is_some() && same.all(|then| self.holds(then))
    }

    /// What ends it, where all that is wrong is a timer armed before the setting was lowered.
    fn waits_for_timers(&self, group: &Group<'_>) -> Option<String> {
        let fires = group.measured.connection.armed?;
        let connection = Connection { armed: None, ..group.measured.connection };
        let then = Measured { window: window(&connection), connection, ..group.measured.clone() };
        self.age_of(&then).reaches(self.age).then(|| {
            format!(
                "restart the service or the broker: the timers of its live sockets were armed before the \
                 setting was lowered, and fire by themselves within {fires} s"
            )
        })
    }

    fn finding(&self, context: &Context<'_>, group: &Group<'_>) -> Finding {
        let measured = group.measured;
        let level = if measured.live { Level::Connection } else { Level::File };
        let expected = match self.age {
            age if age > 0.0 => format!("a call that has been running for {age} s survives"),
            _ => "replies survive".to_owned(),
        };
        let mut finding = Finding::new(context.task, level, group.subject())
            .differs(expected, said(&measured.window, measured.connection.heartbeat));
        for Evidence { source, text } in group.evidence() {
            finding = finding.evidence(source, text);
        }
        if let Some(mend) = self.waits_for_timers(group) {
            return finding.manual(mend);
        }
        let solution = solve(&consumers(context, group), self.strategy, self.age);
        let edits: Vec<String> = solution.edits.iter().map(ToString::to_string).collect();
        let mut mend =
            if edits.is_empty() { "no edit of this strategy mends it".to_owned() } else { edits.join("; ") };
        if group.pairs.iter().all(|pair| self.will_hold(context, pair)) {
            // The files are right already where a restart is all that is missing.
            return finding.automatic(if edits.is_empty() {
                "what the other tasks' findings ask for mends it".to_owned()
            } else {
                mend
            });
        }
        if let Some(missing) = solution.not_covered.last() {
            mend.push_str(&format!("; not covered: {missing}"));
        }
        finding.manual(mend)
    }
}

/// Pairs with the same window, of the same sides.
struct Group<'a> {
    measured: &'a Measured,
    pairs: Vec<&'a Pair>,
}

impl Group<'_> {
    /// `cinder-api, cinder-volume with ctl1, ctl2`
    fn subject(&self) -> String {
        let services = listed(self.pairs.iter().map(|pair| pair.service.as_str()));
        let brokers = listed(self.pairs.iter().map(|pair| pair.broker.as_str()));
        format!("{services} with {brokers}")
    }

    /// The settings that decide, each once, and the timeout they are up against.
    fn evidence(&self) -> Vec<&Evidence> {
        let mut found: Vec<&Evidence> = Vec::new();
        for pair in &self.pairs {
            let Ok(measured) = &pair.outcome else { continue };
            let window = &measured.window;
            let decides = |decider: Decider| match window.broker_worst {
                Some(broker) if broker < window.client_worst => decider == window.client_decided_by,
                _ => decider == window.decided_by,
            };
            let of_setting = measured.evidence.iter().filter(|(decider, _)| decides(*decider));
            for evidence in of_setting.map(|(_, evidence)| evidence).chain([&measured.timeout]) {
                if !found.contains(&evidence) {
                    found.push(evidence);
                }
            }
        }
        found
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen.join(", ")
}

/// What a window means, in one sentence.
fn said(window: &Window, heartbeat: u32) -> String {
    let timeout = match window.rpc_response_timeout {
        Some(timeout) => format!("callers give up after {timeout:.0} s"),
        None => "callers never give up".to_owned(),
    };
    let decided = match window.decided_by {
        Decider::Heartbeat => format!("AMQP heartbeat {heartbeat} s"),
        other => other.setting().to_owned(),
    };
    match window.broker_worst {
        None => format!("the broker may never notice a dead connection (nothing decides), {timeout}"),
        Some(broker) if broker < window.client_worst => format!(
            "the client is back after up to {} (decided by {}), {timeout}",
            duration(window.client_worst),
            window.client_decided_by.setting()
        ),
        Some(broker) => {
            let best = duration(window.broker_best.unwrap_or(0.0));
            let worst = duration(broker);
            // One unit is said once.
            let best = match (best.split_once(' '), worst.split_once(' ')) {
                (Some((number, unit)), Some((_, same))) if unit == same => number.to_owned(),
                _ => best,
            };
            format!(
                "the broker notices a dead connection after {best} to {worst} (decided by {decided}), {timeout}"
            )
        }
    }
}

/// Everyone who consumes on the brokers of the group, each service once a broker: what `solve` works on.
fn consumers(context: &Context<'_>, group: &Group<'_>) -> Vec<Consumer> {
    let brokers: Vec<&str> = group.pairs.iter().map(|pair| pair.broker.as_str()).collect();
    let mut found: Vec<Consumer> = Vec::new();
    for pair in context.windows.values().flatten().filter(|pair| brokers.contains(&pair.broker.as_str())) {
        let Ok(measured) = &pair.outcome else { continue };
        // Every edit ends in connections with new timers.
        let connection = Connection { armed: None, ..measured.connection };
        let consumer = Consumer { service: pair.service.clone(), connection };
        if !found.contains(&consumer) {
            found.push(consumer);
        }
    }
    found
}

impl Module for DetectionWindow {
    fn questions(&self) -> Vec<Question> {
        // Which of the run's hosts the addresses of transport_url are.
        vec![Question::File("/etc/hosts".to_owned())]
    }

    fn is_invariant(&self) -> bool {
        true
    }

    fn check(&self, context: &Context<'_>) -> Outcome {
        let pairs = context.windows.get(context.host).map_or(&[][..], Vec::as_slice);
        if let (true, Some(reason)) = (pairs.is_empty(), context.facts.unread.get("processes")) {
            let finding = Finding::new(context.task, Level::Connection, "the services of this host");
            return Outcome::unknown(finding.unknown("services or none", reason));
        }
        if pairs.is_empty() {
            return Outcome::NotApplicable("no service that talks to a broker".to_owned());
        }
        let mut findings = Vec::new();
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut unknown: Vec<(&String, Vec<&Pair>)> = Vec::new();
        for pair in pairs {
            match &pair.outcome {
                Err(reason) => match unknown.iter_mut().find(|(known, _)| *known == reason) {
                    Some((_, pairs)) => pairs.push(pair),
                    None => unknown.push((reason, vec![pair])),
                },
                Ok(_) if self.holds(pair) => {}
                Ok(measured) => match groups.iter_mut().find(|group| alike(group.measured, measured)) {
                    Some(group) => group.pairs.push(pair),
                    None => groups.push(Group { measured, pairs: vec![pair] }),
                },
            }
        }
        findings.extend(groups.iter().map(|group| self.finding(context, group)));
        for (reason, pairs) in unknown {
            let services = listed(pairs.iter().map(|pair| pair.service.as_str()));
            let brokers = listed(pairs.iter().map(|pair| pair.broker.as_str()));
            let finding = Finding::new(context.task, Level::Connection, format!("{services} with {brokers}"));
            let expected = format!("a call that has been running for {} s survives", self.age);
            let mend = format!("put every broker's host into the inventory, and {AS_ROOT}");
            findings.push(finding.unknown(expected, reason).manual(mend));
        }
        Outcome::Checked { findings, changes: Vec::new() }
    }
}

/// One finding tells both.
fn alike(one: &Measured, other: &Measured) -> bool {
    one.window == other.window
        && one.live == other.live
        && one.connection.heartbeat == other.connection.heartbeat
}
