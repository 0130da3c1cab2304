//! A window as a picture in plain text: who notices when, and whether the caller still waits.

use std::fmt::Write;

use super::Window;

/// What a drawing shows, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timeline {
    /// The broker notices at best; `None`: never.
    pub broker_best: Option<f64>,
    /// The broker notices at worst; `None`: no bound.
    pub broker_worst: Option<f64>,
    /// The client is connected again at worst; `None`: no bound.
    pub client_worst: Option<f64>,
    /// The caller gives up; `None`: it does not.
    pub rpc_response_timeout: Option<f64>,
}

impl From<&Window> for Timeline {
    fn from(window: &Window) -> Self {
        Self {
            broker_best: window.broker_best,
            broker_worst: window.broker_worst,
            client_worst: Some(window.client_worst),
            rpc_response_timeout: window.rpc_response_timeout,
        }
    }
}

/// A timeline in words, one for each line of a drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// When the broker notices.
    pub broker: String,
    /// When the client is connected again.
    pub client: String,
    /// When the caller gives up.
    pub caller: String,
    /// One sentence: does the reply come in time?
    pub verdict: String,
}

impl Timeline {
    /// What a drawing of it says.
    pub fn words(&self) -> Words {
        Words {
            broker: broker_words(self.broker_best, self.broker_worst),
            client: match self.client_worst {
                Some(worst) => format!("is back within {}", duration(worst)),
                None => "may never be back".to_owned(),
            },
            caller: match self.rpc_response_timeout {
                Some(seconds) => format!("gives up at {}", duration(seconds)),
                None => "waits without end".to_owned(),
            },
            verdict: verdict(self),
        }
    }
}

/// The seconds that a drawing shows, from 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// The second at the right end.
    pub end: f64,
    /// Seconds between marks.
    pub step: f64,
}

impl Axis {
    /// The axis on which all of these can be seen, with at most `most` steps.
    pub fn new(timelines: &[Timeline], most: f64) -> Self {
        let shown = timelines.iter().map(|timeline| {
            let Timeline { broker_best, broker_worst, client_worst, rpc_response_timeout } = timeline;
            let all = [broker_best, broker_worst, client_worst, rpc_response_timeout];
            let longest = all.into_iter().flatten().copied().fold(1.0, f64::max);
            // Hours of the kernel's default keepalive would leave the caller's minute no room.
            rpc_response_timeout.map_or(longest, |deadline| longest.min(deadline.max(1.0) * 4.0))
        });
        let shown = shown.fold(1.0, f64::max);
        let steps = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0];
        let step = steps.into_iter().find(|step| shown / step <= most).unwrap_or((shown / most).ceil());
        Self { end: (shown / step).ceil() * step, step }
    }

    /// The seconds that have a mark.
    pub fn marks(&self) -> impl Iterator<Item = f64> + use<> {
        let Self { end, step } = *self;
        std::iter::successors(Some(0.0), move |mark| Some(mark + step)).take_while(move |mark| *mark <= end)
    }

    /// Where a second is, from 0 at the left to 1 at the right, which all that lie beyond have too.
    pub fn share(&self, seconds: f64) -> f64 {
        (seconds / self.end).clamp(0.0, 1.0)
    }
}

/// Which characters the terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// Box drawing.
    Unicode,
    /// ASCII only.
    Ascii,
}

struct Glyphs {
    death: char,
    axis: char,
    tick: char,
    first: char,
    last: char,
    certain: char,
    possible: char,
    beyond: char,
    deadline: char,
    gives_up: char,
}

impl Charset {
    fn glyphs(self) -> Glyphs {
        match self {
            Self::Unicode => Glyphs {
                death: '↓',
                axis: '─',
                tick: '┴',
                first: '└',
                last: '┘',
                certain: '█',
                possible: '░',
                beyond: '▶',
                deadline: '│',
                gives_up: '✗',
            },
            Self::Ascii => Glyphs {
                death: 'v',
                axis: '-',
                tick: '+',
                first: '+',
                last: '+',
                certain: '#',
                possible: '.',
                beyond: '>',
                deadline: '|',
                gives_up: 'X',
            },
        }
    }
}

/// Columns of the names at the left.
const NAMES: usize = 10;

/// Columns of the words at the right.
const WORDS: usize = 27;

/// The narrowest drawing that can be read.
const NARROWEST: usize = 60;

/// Draws a timeline at most `width` columns wide (60 at least), every line ended by a newline.
///
/// Solid means that the broker certainly has not noticed yet, dotted that it may not have, and the vertical
/// line is where the caller gives up.
pub fn drawing(timeline: &Timeline, width: usize, charset: Charset) -> String {
    let glyphs = charset.glyphs();
    let scale = Scale::new(timeline, width.max(NARROWEST) - NAMES - WORDS);
    let mut text = format!("{:NAMES$}{} the consumer's connection dies\n", "", glyphs.death);
    push(&mut text, "", &scale.labels(), "");
    push(&mut text, "", &scale.axis(&glyphs), "");

    let deadline = timeline.rpc_response_timeout;
    let (best, worst) = (timeline.broker_best, timeline.broker_worst);
    let words = timeline.words();
    let broker = scale.bar(best.or(worst), worst, deadline, &glyphs);
    push(&mut text, "broker", &broker, &words.broker);
    let client = scale.bar(Some(0.0), timeline.client_worst, deadline, &glyphs);
    push(&mut text, "client", &client, &words.client);
    let mut caller = scale.bar(deadline, deadline, None, &glyphs);
    if let Some(seconds) = deadline {
        caller[scale.column(seconds)] = glyphs.gives_up;
    }
    push(&mut text, "caller", &caller, &words.caller);
    let _ = writeln!(text, "{:NAMES$}{}", "", words.verdict);
    text
}

/// One line: name, bar, words.
fn push(text: &mut String, name: &str, bar: &[char], words: &str) {
    let bar: String = bar.iter().collect();
    let line = format!("  {name:<8}{bar}  {words}");
    let _ = writeln!(text, "{}", line.trim_end());
}

/// Which column a second has.
struct Scale {
    /// Columns.
    columns: usize,
    /// What they show.
    axis: Axis,
}

impl Scale {
    fn new(timeline: &Timeline, columns: usize) -> Self {
        Self { columns, axis: Axis::new(&[*timeline], columns as f64 / 7.0) }
    }

    /// The column of a second, the last one for all that lie beyond the end.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the columns")]
    fn column(&self, seconds: f64) -> usize {
        let last = (self.columns - 1) as f64;
        (self.axis.share(seconds) * last).round() as usize
    }

    fn labels(&self) -> Vec<char> {
        let mut line = vec![' '; self.columns + 4];
        for mark in self.axis.marks() {
            let label = if mark >= self.axis.end { format!("{mark} s") } else { mark.to_string() };
            let digits = mark.to_string().len();
            let start = self.column(mark).saturating_sub(digits / 2);
            for (place, letter) in line[start..].iter_mut().zip(label.chars()) {
                *place = letter;
            }
        }
        line
    }

    fn axis(&self, glyphs: &Glyphs) -> Vec<char> {
        let mut line = vec![glyphs.axis; self.columns];
        for mark in self.axis.marks() {
            line[self.column(mark)] = glyphs.tick;
        }
        line[0] = glyphs.first;
        line[self.columns - 1] = glyphs.last;
        line
    }

    /// Solid until `best`, dotted until `worst`, an arrow where that lies beyond the end.
    fn bar(
        &self,
        best: Option<f64>,
        worst: Option<f64>,
        deadline: Option<f64>,
        glyphs: &Glyphs,
    ) -> Vec<char> {
        let solid = self.column(best.unwrap_or(f64::INFINITY));
        let until = self.column(worst.unwrap_or(f64::INFINITY));
        let mut line: Vec<char> = (0..self.columns)
            .map(|column| match column {
                column if column < solid => glyphs.certain,
                column if column < until => glyphs.possible,
                _ => ' ',
            })
            .collect();
        if worst.is_none_or(|worst| worst > self.axis.end) {
            line[self.columns - 1] = glyphs.beyond;
        }
        if let Some(deadline) = deadline {
            line[self.column(deadline)] = glyphs.deadline;
        }
        line
    }
}

fn broker_words(best: Option<f64>, worst: Option<f64>) -> String {
    match (best, worst) {
        (_, None) => "may never notice".to_owned(),
        (Some(best), Some(worst)) if best < worst => {
            let (best, worst) = (duration(best.floor()), duration(worst));
            match (best.split_once(' '), worst.split_once(' ')) {
                (Some((low, unit)), Some((_, same))) if unit == same => {
                    format!("notices in {low} to {worst}")
                }
                _ => format!("notices in {best} to {worst}"),
            }
        }
        (_, Some(worst)) => format!("notices in {}", duration(worst)),
    }
}

/// One sentence: does the reply come in time?
fn verdict(timeline: &Timeline) -> String {
    let (Some(broker), Some(client)) = (timeline.broker_worst, timeline.client_worst) else {
        return "Replies can be lost: nothing bounds how long that takes.".to_owned();
    };
    let slower = broker.max(client);
    match timeline.rpc_response_timeout {
        None => format!("No reply is lost, but one may come {} late.", duration(slower)),
        Some(deadline) if slower < deadline => format!(
            "A call up to {} old when the connection dies still gets its reply.",
            duration((deadline - slower).floor())
        ),
        Some(deadline) => {
            let who = if broker >= client { "broker" } else { "client" };
            format!("Replies can be lost: the {who} may be {} too late.", duration(slower - deadline))
        }
    }
}

/// A time for a person: whole seconds, minutes from ten minutes on, hours from two hours on; never less than it is.
pub fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 600.0 => format!("{:.0} s", seconds.ceil()),
        seconds if seconds < 7200.0 => format!("{:.0} min", (seconds / 60.0).ceil()),
        seconds => format!("{:.0} h", (seconds / 3600.0).ceil()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(numbers: [Option<f64>; 4], width: usize, charset: Charset, expected: &str) {
        let [broker_best, broker_worst, client_worst, rpc_response_timeout] = numbers;
        let timeline = Timeline { broker_best, broker_worst, client_worst, rpc_response_timeout };
        let drawn = drawing(&timeline, width, charset);
        assert!(drawn.lines().all(|line| line.chars().count() <= width), "\n{drawn}");
        assert_eq!(drawn, expected, "\n{drawn}");
    }

    #[test]
    fn the_default_heartbeat_is_too_late() {
        check(
            [Some(120.0), Some(180.0), Some(141.0), Some(60.0)],
            80,
            Charset::Unicode,
            concat!(
                "          ↓ the consumer's connection dies\n",
                "          0     30     60     90     120    150    180 s\n",
                "          └──────┴──────┴──────┴──────┴──────┴──────┘\n",
                "  broker  ██████████████│█████████████░░░░░░░░░░░░░░   notices in 120 to 180 s\n",
                "  client  ░░░░░░░░░░░░░░│░░░░░░░░░░░░░░░░░░            is back within 141 s\n",
                "  caller  ██████████████✗                              gives up at 60 s\n",
                "          Replies can be lost: the broker may be 120 s too late.\n",
            ),
        );
    }

    #[test]
    fn a_short_heartbeat_is_in_time() {
        check(
            [Some(30.0), Some(45.0), Some(36.0), Some(60.0)],
            80,
            Charset::Unicode,
            concat!(
                "          ↓ the consumer's connection dies\n",
                "          0     10     20     30     40     50     60 s\n",
                "          └──────┴──────┴──────┴──────┴──────┴──────┘\n",
                "  broker  █████████████████████░░░░░░░░░░░          │  notices in 30 to 45 s\n",
                "  client  ░░░░░░░░░░░░░░░░░░░░░░░░░                 │  is back within 36 s\n",
                "  caller  ██████████████████████████████████████████✗  gives up at 60 s\n",
                "          A call up to 15 s old when the connection dies still gets its reply.\n",
            ),
        );
    }

    #[test]
    fn the_incident() {
        check(
            [Some(70.0), Some(1138.65), Some(1060.9), Some(60.0)],
            80,
            Charset::Unicode,
            concat!(
                "          ↓ the consumer's connection dies\n",
                "          0         60        120        180       240 s\n",
                "          └──────────┴─────────┴──────────┴─────────┘\n",
                "  broker  ███████████│░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░▶  notices in 70 s to 19 min\n",
                "  client  ░░░░░░░░░░░│░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░▶  is back within 18 min\n",
                "  caller  ███████████✗                                 gives up at 60 s\n",
                "          Replies can be lost: the broker may be 18 min too late.\n",
            ),
        );
    }

    #[test]
    fn no_bound_in_ascii() {
        check(
            [Some(924.6), None, Some(37.0), Some(60.0)],
            72,
            Charset::Ascii,
            concat!(
                "          v the consumer's connection dies\n",
                "          0       60      120      180     240 s\n",
                "          +--------+-------+--------+-------+\n",
                "  broker  #########|########################>  may never notice\n",
                "  client  .....    |                           is back within 37 s\n",
                "  caller  #########X                           gives up at 60 s\n",
                "          Replies can be lost: nothing bounds how long that takes.\n",
            ),
        );
    }

    #[test]
    fn no_timeout() {
        check(
            [Some(120.0), Some(180.0), Some(141.0), None],
            60,
            Charset::Ascii,
            concat!(
                "          v the consumer's connection dies\n",
                "          0     60      120    180 s\n",
                "          +------+-------+------+\n",
                "  broker  ###############.......   notices in 120 to 180 s\n",
                "  client  .................        is back within 141 s\n",
                "  caller  ######################>  waits without end\n",
                "          No reply is lost, but one may come 180 s late.\n",
            ),
        );
    }
}
