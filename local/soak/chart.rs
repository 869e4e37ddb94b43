//! Small plots as SVG, drawn with the page's own colours, so that they are readable in the light and in the dark.

use askama::Template;

/// The plotting area, in units of the picture.
const WIDTH: u64 = 600;
const HEIGHT: u64 = 200;
/// Points of a line at most; what lies between two of them is shown by its highest value.
const MOST_POINTS: usize = 240;
/// Marks at the left side, beside the zero.
const MARKS: u64 = 4;

/// A line of a plot.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// What it shows.
    pub(super) name: String,
    /// Milliseconds and values.
    pub(super) points: Vec<(u64, u64)>,
}

/// Values over time.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    pub(super) title: &'static str,
    /// Of the values.
    pub(super) unit: &'static str,
    pub(super) lines: Vec<Line>,
}

/// Values by name.
#[derive(Debug, Clone)]
pub(super) struct Bars {
    pub(super) title: &'static str,
    pub(super) bars: Vec<(String, u64)>,
}

/// A mark at a side.
struct Mark {
    at: u64,
    text: String,
}

struct Drawn<'a> {
    name: &'a str,
    class: usize,
    points: String,
}

#[derive(Template)]
#[template(path = "lines.html", config = "local/soak/askama.toml")]
struct LinesPicture<'a> {
    title: &'static str,
    unit: &'static str,
    lines: Vec<Drawn<'a>>,
    marks: Vec<Mark>,
    times: Vec<Mark>,
}

struct Bar<'a> {
    name: &'a str,
    value: u64,
    percent: u64,
}

#[derive(Template)]
#[template(path = "bars.html", config = "local/soak/askama.toml")]
struct BarsPicture<'a> {
    title: &'static str,
    bars: Vec<Bar<'a>>,
}

impl Lines {
    /// As part of a page.
    pub(super) fn draw(&self) -> Result<String, askama::Error> {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let first = all().map(|(at, _)| *at).min().unwrap_or(0);
        let last = all().map(|(at, _)| *at).max().unwrap_or(0).max(first + 1);
        let most = round_up(all().map(|(_, value)| *value).max().unwrap_or(0));
        let x = |at: u64| (at - first) * WIDTH / (last - first);
        let y = |value: u64| HEIGHT - value * HEIGHT / most;
        let lines = self.lines.iter().enumerate().map(|(class, line)| {
            let points = thinned(&line.points).into_iter();
            let points: Vec<String> = points.map(|(at, value)| format!("{},{}", x(at), y(value))).collect();
            Drawn {
                name: &line.name,
                class,
                points: points.join(" "),
            }
        });
        let mark = |number: u64| Mark {
            at: y(most * number / MARKS),
            text: (most * number / MARKS).to_string(),
        };
        let time = |number: u64| {
            let at = first + (last - first) * number / MARKS;
            Mark {
                at: x(at),
                text: format!("{}:{:02}", at / 60_000, at / 1_000 % 60),
            }
        };
        LinesPicture {
            title: self.title,
            unit: self.unit,
            lines: lines.collect(),
            marks: (0..=MARKS).map(mark).collect(),
            times: (0..=MARKS).map(time).collect(),
        }
        .render()
    }
}

impl Bars {
    /// As part of a page.
    pub(super) fn draw(&self) -> Result<String, askama::Error> {
        let most = self.bars.iter().map(|(_, value)| *value).max().unwrap_or(0).max(1);
        let bars = self.bars.iter().map(|(name, value)| Bar {
            name,
            value: *value,
            percent: value * 100 / most,
        });
        BarsPicture {
            title: self.title,
            bars: bars.collect(),
        }
        .render()
    }
}

/// The next number that four marks divide well.
fn round_up(value: u64) -> u64 {
    let mut step = 4;
    while step * 10 < value {
        step *= 10;
    }
    value.div_ceil(step).max(1) * step
}

fn thinned(points: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let at_once = points.len().div_ceil(MOST_POINTS).max(1);
    let highest = |some: &[(u64, u64)]| some.iter().copied().max_by_key(|(_, value)| *value);
    points.chunks(at_once).filter_map(highest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_inside_its_picture_and_escapes_its_names() {
        let lines = Lines {
            title: "Queue",
            unit: "messages",
            lines: vec![Line {
                name: "<script>".to_owned(),
                points: (0..10_000).map(|at| (at * 100, at % 977)).collect(),
            }],
        };
        let drawn = lines.draw().unwrap();
        assert!(!drawn.contains("<script"), "{drawn}");
        let points = drawn.split_once("points=\"").unwrap().1.split_once('"').unwrap().0;
        let numbers: Vec<(u64, u64)> = points
            .split(' ')
            .map(|point| point.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        assert!(numbers.len() <= MOST_POINTS);
        assert!(numbers.iter().all(|(x, y)| *x <= WIDTH && *y <= HEIGHT));
        assert!(numbers.iter().any(|(_, y)| *y < HEIGHT / 4));
    }

    #[test]
    fn nothing_is_a_plot_as_well() {
        for lines in [
            Vec::new(),
            vec![Line {
                name: String::new(),
                points: Vec::new(),
            }],
        ] {
            let empty = Lines {
                title: "t",
                unit: "u",
                lines,
            };
            assert!(empty.draw().unwrap().contains("<svg"));
        }
        assert!(
            Bars {
                title: "t",
                bars: Vec::new()
            }
            .draw()
            .is_ok()
        );
    }

    #[test]
    fn marks_are_round() {
        assert_eq!([0, 1, 4, 5, 41, 977].map(round_up), [4, 4, 4, 8, 80, 1_200]);
    }
}
