//! The figures of a load as a picture: Shoots, machine and steps over time.

use std::collections::BTreeSet;

use anyhow::Result;
use mock_view::chart::{Area, Axis, INK, PALE_INK, Panel, colour, mesh, text};
use mock_view::statistics::{count, sorted};
use mock_view::words::{brief, number};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::figures::{Moment, Owner, Report, ShootFigures};
use super::table;

const WIDTH: u32 = 1600;
const HEAD: u32 = 140;
const MARGIN: u32 = 30;

/// Height of a panel, with its caption.
const ROW: u32 = 260;
const CAPTION: u32 = 34;

/// Width of a panel over time, and of the key on its right side.
const PANEL: u32 = 1270;
const KEY: i32 = 1300;

/// How many steps are shown.
const STEPS: usize = 14;
const STEP: u32 = 30;
/// Where the bars of steps begin.
const BARS: i32 = 640;
const BARS_WIDTH: f64 = 600.0;

/// A line of a panel.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Renders the picture as SVG. The same report gives the same picture.
pub(super) fn render(report: &Report) -> Result<String> {
    let steps = report.steps.iter().filter(|step| step.critical > 0.0).take(STEPS).count();
    let panels = [shoots(report), at_once(report), machine(report), memory(report), requests(report)];
    let end_of_panels = HEAD + ROW * u32::try_from(panels.len())?;
    let height = end_of_panels + CAPTION + STEP * u32::try_from(steps + 1)? + MARGIN;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        head(&root, report)?;
        let end = report.moments.last().map_or(1.0, |moment| moment.at).max(1.0);
        for (top, (caption, lines)) in (HEAD..).step_by(usize::try_from(ROW)?).zip(panels) {
            let (_, below) = root.split_vertically(top);
            panel(&below.split_vertically(ROW).0, &caption, &lines, end)?;
        }
        let (_, below) = root.split_vertically(end_of_panels);
        bars(&below, report)?;
        root.present()?;
    }
    Ok(svg)
}

fn head(root: &Area<'_>, report: &Report) -> Result<()> {
    let left = i32::try_from(MARGIN)?;
    let pale = |size| text(size, FontStyle::Normal, PALE_INK);
    root.draw_text("Shoots of a whole Gardener on one machine", &text(30.0, FontStyle::Bold, INK), (left, 48))?;
    root.draw_text(&table::describe(report), &pale(16.0), (left, 78))?;
    root.draw_text(&report.machine.describe(), &pale(16.0), (left, 102))?;
    let limit = table::limit(report).unwrap_or_default();
    root.draw_text(&limit, &text(16.0, FontStyle::Normal, INK), (left, 128))?;
    Ok(())
}

type Titled = (String, Vec<Line>);

/// How many Shoots have come how far.
fn shoots(report: &Report) -> Titled {
    let line = |name: &str, of: fn(&ShootFigures) -> Option<f64>| Line {
        name: name.to_owned(),
        points: risen(report.shoots.iter().filter_map(of)),
    };
    let lines = vec![
        line("created", |shoot| shoot.created),
        line("gardenlet has begun", |shoot| shoot.begun),
        line("succeeded", |shoot| shoot.succeeded),
    ];
    let pace = report.pace().map(|pace| format!("; {} succeed a minute", number(pace))).unwrap_or_default();
    (format!("Shoots{pace}"), lines)
}

/// A line that rises by one at each of these times.
fn risen(times: impl Iterator<Item = f64>) -> Vec<(f64, f64)> {
    let times = sorted(times);
    times.iter().enumerate().flat_map(|(before, at)| [(*at, count(before)), (*at, count(before + 1))]).collect()
}

fn over_time(report: &Report, name: &str, of: fn(&Moment) -> f64) -> Line {
    Line { name: name.to_owned(), points: report.moments.iter().map(|moment| (moment.at, of(moment))).collect() }
}

fn at_once(report: &Report) -> Titled {
    let lines = vec![
        over_time(report, "in gardenlet's queue", |moment| moment.waiting),
        over_time(report, "in work", |moment| moment.working),
    ];
    (format!("Shoots at once; gardenlet has {} workers", brief(report.workers)), lines)
}

fn machine(report: &Report) -> Titled {
    let lines = vec![
        over_time(report, "machine", |moment| moment.cpu * 100.0),
        over_time(report, "all processes here", |moment| moment.garden * 100.0),
        over_time(report, "gardenlet", |moment| moment.gardenlet * 100.0),
        over_time(report, "this project's", |moment| moment.ours * 100.0),
    ];
    ("CPU that is used, in % of the machine".to_owned(), lines)
}

fn memory(report: &Report) -> Titled {
    let of = |name: &str, owner: Owner| Line {
        name: name.to_owned(),
        points: report.moments.iter().map(|moment| (moment.at, mebibytes(moment, owner))).collect(),
    };
    let lines = vec![
        of("Kubernetes and etcd", Owner::Kubernetes),
        of("Gardener", Owner::Gardener),
        of("this project's", Owner::Mock),
    ];
    ("Resident memory, in MiB".to_owned(), lines)
}

fn mebibytes(moment: &Moment, owner: Owner) -> f64 {
    moment.memory.get(&owner).copied().unwrap_or_default() / f64::from(1 << 20)
}

fn requests(report: &Report) -> Titled {
    let names: BTreeSet<_> = report.moments.iter().flat_map(|moment| moment.requests.keys()).collect();
    let line = |name: &String| Line {
        name: format!("to the {name}"),
        points: report.moments.iter().map(|of| (of.at, of.requests.get(name).copied().unwrap_or_default())).collect(),
    };
    ("Requests of gardenlet a second".to_owned(), names.into_iter().map(line).collect())
}

/// Lines over time, with their names on the right side.
fn panel(area: &Area<'_>, caption: &str, lines: &[Line], end: f64) -> Result<()> {
    let left = i32::try_from(MARGIN)?;
    area.draw_text(caption, &text(20.0, FontStyle::Bold, INK), (left, 24))?;
    let most = lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value).fold(0.0, f64::max);
    let inner = area.clone().shrink((20, CAPTION), (PANEL, ROW - CAPTION - 12));
    let mut panel: Panel<'_, '_, RangedCoordf64, Axis> = ChartBuilder::on(&inner)
        .x_label_area_size(26)
        .y_label_area_size(66)
        .margin_top(8)
        .margin_right(10)
        .build_cartesian_2d(0.0..end, axis(most))?;
    mesh(&mut panel, &|seconds| format!("{seconds:.0} s"), &|value| brief(*value))?;
    for (index, line) in lines.iter().enumerate() {
        panel.draw_series(LineSeries::new(line.points.iter().copied(), colour(index).stroke_width(3)))?;
        let top = i32::try_from(CAPTION)? + 34 * i32::try_from(index)?;
        area.draw(&Rectangle::new([(KEY, top + 6), (KEY + 8, top + 30)], colour(index).filled()))?;
        area.draw_text(&line.name, &text(16.0, FontStyle::Normal, INK), (KEY + 20, top + 26))?;
    }
    Ok(())
}

/// An axis from zero with at most six labels, at 1, 2 or 5 times a power of ten.
fn axis(most: f64) -> Axis {
    let most = most.max(1.0) * 1.05;
    let decade = 10_f64.powf((most / 6.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * decade).into_iter().find(|step| most / step <= 6.0);
    let step = step.unwrap_or(most);
    let labelled = (0_u32..7).map(|number| f64::from(number) * step).take_while(|value| *value <= most).collect();
    Axis { range: 0.0..most, labelled, fine: Vec::new() }
}

/// A bar for each step that takes most of a Shoot's time: how much of it gardenlet sleeps, and how long it lasts early and
/// late.
fn bars(area: &Area<'_>, report: &Report) -> Result<()> {
    let left = i32::try_from(MARGIN)?;
    let caption = "What a Shoot's time consists of: seconds of each step; pale: gardenlet sleeps between two looks";
    area.draw_text(caption, &text(20.0, FontStyle::Bold, INK), (left, 24))?;
    let shown = report.steps.iter().filter(|step| step.critical > 0.0).take(STEPS);
    let longest = shown.clone().map(|step| step.critical).fold(0.001, f64::max);
    #[expect(clippy::cast_possible_truncation, reason = "pixels of a bar of at most 600")]
    let pixels = |seconds: f64| (seconds / longest * BARS_WIDTH).round() as i32;
    let label = text(15.0, FontStyle::Normal, INK);
    for (index, step) in shown.enumerate() {
        let top = i32::try_from(CAPTION + STEP * u32::try_from(index)?)?;
        area.draw_text(&step.name, &label.pos(Pos::new(HPos::Right, VPos::Bottom)), (BARS - 10, top + 22))?;
        let (all, asleep) = (BARS + pixels(step.critical), BARS + pixels(step.asleep));
        area.draw(&Rectangle::new([(BARS, top + 3), (all, top + 23)], colour(1).filled()))?;
        area.draw(&Rectangle::new([(BARS, top + 3), (asleep, top + 23)], colour(5).filled()))?;
        let growth = format!(
            "{} s; p50 first third {} s, last {} s",
            number(step.critical),
            number(step.early),
            number(step.late)
        );
        area.draw_text(&growth, &label, (all + 8, top + 22))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::analysis::tests::report;
    use super::*;

    #[test]
    fn picture_has_a_line_for_each_series_and_a_bar_for_each_step_on_the_path() {
        let svg = render(&report()).unwrap();
        for shown in ["created", "in work", "gardenlet", "Kubernetes and etcd", "to the seed", "Waiting", "Deploying"] {
            assert!(svg.contains(shown), "{shown:?} is missing in\n{svg}");
        }
        // Another step always lasted longer.
        assert!(!svg.contains("Beside"), "{svg}");
        assert_eq!(svg.matches("stroke-width=\"3\"").count(), 3 + 2 + 4 + 3 + 1);
    }

    #[test]
    fn report_without_figures_has_a_picture() {
        assert!(render(&Report::default()).unwrap().starts_with("<svg"));
    }

    #[test]
    fn axis_has_few_round_labels_up_to_the_largest_value() {
        for (most, expected) in [
            (0.0, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            (20.0, vec![0.0, 5.0, 10.0, 15.0, 20.0]),
            (100.0, vec![0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
            (730.0, vec![0.0, 200.0, 400.0, 600.0]),
        ] {
            let axis = axis(most);
            let same = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
            assert!(axis.labelled.len() == expected.len() && axis.labelled.iter().zip(&expected).all(same), "{most}");
            assert!(axis.range.end >= most);
        }
    }

    #[test]
    fn line_rises_by_one_at_each_time_whatever_their_order() {
        assert_eq!(risen([5.0, 2.0].into_iter()), [(2.0, 0.0), (2.0, 1.0), (5.0, 1.0), (5.0, 2.0)]);
    }
}
