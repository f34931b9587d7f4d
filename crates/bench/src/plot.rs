//! The figures of a benchmark as a picture: for each phase, latency over time and as a distribution.

use anyhow::Result;
use mock_view::chart::{Area, Axis, INK, PALE_INK, colour, mesh, text};
use mock_view::statistics::{self, Latency, count, ratio, sorted};
use mock_view::words::{counted, number, percentile};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figures::{ContestantFigures, Report, SampleFigures};
use crate::format::duration;
use crate::statistics::Summary;

const WIDTH: u32 = 1600;
const HEAD: u32 = 116;
const MARGIN: u32 = 30;

/// Minimum height of a phase. With three phases the picture has the format 16:10.
const ROW: u32 = 310;

/// Height of a contestant's entry in the key.
const KEY: u32 = 66;

/// Left edge and width of the two panels of a row, and then of the key.
const PANELS: [(u32, u32); 2] = [(20, 640), (670, 570)];
const KEYS: i32 = 1260;
const KEYS_WIDTH: u32 = 310;

/// Space above the panels of a row, and below them.
const CAPTION: u32 = 32;
const GAP: u32 = 12;

/// Number of points of a line over time.
const POINTS: usize = 40;

/// Number of points of a distribution.
const STEPS: usize = 200;

/// Renders the picture as SVG. The same report gives the same picture. Fails only if the report is too large for a
/// picture.
pub(crate) fn render(report: &Report) -> Result<String> {
    let phases = report.phases();
    let row = ROW.max(CAPTION + KEY * u32::try_from(report.contestants.len())? + GAP);
    let height = HEAD + row * u32::try_from(phases.len())? + MARGIN / 2;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        head(&root, report)?;
        let latencies = Scale::of(report);
        for (top, phase) in (HEAD..).step_by(usize::try_from(row)?).zip(phases) {
            let (_, below) = root.split_vertically(top);
            let (area, _) = below.split_vertically(row);
            Row { report, phase, latencies: &latencies, height: row }.draw(&area)?;
        }
        root.present()?;
    }
    Ok(svg)
}

fn head(root: &Area<'_>, report: &Report) -> Result<()> {
    let left = i32::try_from(MARGIN)?;
    let pace = report.load.rate.map_or("at once".to_owned(), |rate| format!("at {} a second", number(rate)));
    let title = format!("{} {pace}: latency from request to ready", counted(report.load.objects, "extension object"));
    root.draw_text(&title, &text(30.0, FontStyle::Bold, INK), (left, 48))?;
    root.draw_text(&report.load.describe(), &text(16.0, FontStyle::Normal, PALE_INK), (left, 78))?;
    root.draw_text(&report.machine.describe(), &text(16.0, FontStyle::Normal, PALE_INK), (left, 102))?;
    Ok(())
}

/// The logarithmic axis of latencies. It is the same in all panels.
struct Scale {
    /// Decimal logarithms of ms.
    from: f64,
    to: f64,
}

impl Scale {
    /// A scale from the shortest latency to the longest, with some room at both ends.
    fn of(report: &Report) -> Self {
        let phases = report.phases();
        let samples = phases.iter().flat_map(|phase| report.contestants.iter().flat_map(|of| of.samples(phase)));
        let logarithms = sorted(samples.map(logarithm));
        let (from, to) = (logarithms.first().copied().unwrap_or(0.0), logarithms.last().copied().unwrap_or(1.0));
        // The room is wide enough for one of the labelled digits.
        Self { from: from - 0.2, to: to + 0.2 }
    }

    /// The axis with labels at the decades, and also at 2 and 5 if there are few decades. The other digits have fine
    /// lines.
    fn axis(&self) -> Axis {
        let digits: &[f64] = if self.to - self.from > 2.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let inside = |digits: &[f64]| -> Vec<f64> {
            let decades = (-1..7).map(|decade| 10_f64.powi(decade));
            let all = decades.flat_map(|decade| digits.iter().map(move |digit| (digit * decade).log10()));
            all.filter(|at| (self.from..=self.to).contains(at)).collect()
        };
        let fine: Vec<_> = (1_u32..10).map(f64::from).collect();
        Axis { range: self.from..self.to, labelled: inside(digits), fine: inside(&fine) }
    }
}

/// The logarithm of a latency; below a microsecond, that of a microsecond.
fn logarithm(sample: &SampleFigures) -> f64 {
    sample.latency.max(0.001).log10()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that plotters requires")]
fn tick(logarithm: &f64) -> String {
    let millis = 10_f64.powf(*logarithm);
    if millis > 999.0 { format!("{:.0} s", millis / 1000.0) } else { format!("{} ms", (millis * 10.0).round() / 10.0) }
}

/// One phase of the picture.
struct Row<'a> {
    report: &'a Report,
    phase: &'a str,
    latencies: &'a Scale,
    height: u32,
}

impl Row<'_> {
    fn draw(&self, area: &Area<'_>) -> Result<()> {
        let [over_time, distribution] =
            PANELS.map(|(left, width)| area.clone().shrink((left, CAPTION), (width, self.height - CAPTION - GAP)));
        let left = i32::try_from(MARGIN)?;
        area.draw_text(self.phase, &text(20.0, FontStyle::Bold, INK), (left, 22))?;
        let caption = text(14.0, FontStyle::Normal, PALE_INK);
        let what = "latency by the time of the request; line: median, band: 10 to 90 %";
        area.draw_text(what, &caption.pos(Pos::new(HPos::Right, VPos::Bottom)), (650, 22))?;
        let caption = text(14.0, FontStyle::Normal, PALE_INK);
        area.draw_text("share of objects that are ready within a latency", &caption, (730, 22))?;
        self.over_time(&over_time)?;
        self.distribution(&distribution)?;
        self.keys(area)
    }

    fn over_time(&self, area: &Area<'_>) -> Result<()> {
        let contestants = &self.report.contestants;
        let samples = contestants.iter().flat_map(|of| of.samples(self.phase));
        let end = samples.map(|sample| sample.at).fold(0.0, f64::max).max(0.001);
        let mut panel = ChartBuilder::on(area)
            .x_label_area_size(26)
            .y_label_area_size(66)
            .margin_top(8)
            .margin_right(10)
            .build_cartesian_2d(0.0..end, self.latencies.axis())?;
        mesh(&mut panel, &|seconds| format!("{} s", (seconds * 1000.0).round() / 1000.0), &tick)?;
        let lines: Vec<_> = contestants.iter().map(|of| moments(of, self.phase)).collect();
        let lines = lines.iter().enumerate().filter(|(_, line)| !line.is_empty());
        for (index, line) in lines.clone() {
            let band = line.iter().map(|of| (of.at, of.p10)).chain(line.iter().rev().map(|of| (of.at, of.p90)));
            panel.draw_series([Polygon::new(band.collect::<Vec<_>>(), colour(index).mix(0.13))])?;
        }
        for (index, line) in lines {
            let median = line.iter().map(|of| (of.at, of.p50));
            panel.draw_series(LineSeries::new(median, colour(index).stroke_width(3)))?;
        }
        Ok(())
    }

    fn distribution(&self, area: &Area<'_>) -> Result<()> {
        let share = Axis { range: 0.0..1.0, labelled: vec![0.0, 0.25, 0.5, 0.75, 1.0], fine: Vec::new() };
        let mut panel = ChartBuilder::on(area)
            .x_label_area_size(26)
            .y_label_area_size(60)
            .margin_top(8)
            .margin_right(10)
            .build_cartesian_2d(self.latencies.axis(), share)?;
        mesh(&mut panel, &tick, &|share| format!("{:.0} %", share * 100.0))?;
        for (index, of) in self.report.contestants.iter().enumerate() {
            let line = cumulative(of, self.phase);
            if !line.is_empty() {
                panel.draw_series(LineSeries::new(line, colour(index).stroke_width(3)))?;
            }
        }
        Ok(())
    }

    /// The colour and name of each contestant, and its main figures.
    fn keys(&self, area: &Area<'_>) -> Result<()> {
        let raw = self.report.contestants.first().and_then(|raw| Summary::of(raw, self.phase));
        for (index, of) in self.report.contestants.iter().enumerate() {
            let Some(summary) = Summary::of(of, self.phase) else { continue };
            let top = i32::try_from(CAPTION + KEY * u32::try_from(index)?)?;
            let colour = colour(index);
            area.draw(&Rectangle::new([(KEYS, top + 6), (KEYS + 8, top + 56)], colour.filled()))?;
            let left = KEYS + 20;
            // A long name is written smaller so that it fits. A bold letter is on average 0.7 times as wide as high.
            let size = (f64::from(KEYS_WIDTH) / (0.7 * count(of.name.chars().count()))).min(17.0);
            area.draw_text(&of.name, &text(size, FontStyle::Bold, INK), (left, top + 20))?;
            let times = raw.filter(|_| index > 0).and_then(|raw| ratio(summary.throughput, raw.throughput));
            let times = times.map(|times| format!(", {} × raw", number(times))).unwrap_or_default();
            let speed = format!("{} objects/s{times}", number(summary.throughput));
            area.draw_text(&speed, &text(15.0, FontStyle::Normal, INK), (left, top + 40))?;
            if let Some(Latency { p50, p99, .. }) = summary.latency {
                let latency = format!("p50 {}, p99 {}", duration(p50), duration(p99));
                area.draw_text(&latency, &text(15.0, FontStyle::Normal, INK), (left, top + 59))?;
            }
        }
        Ok(())
    }
}

/// Successive requests: the time in their middle, and logarithms of percentiles of their latencies.
struct Moment {
    at: f64,
    p10: f64,
    p50: f64,
    p90: f64,
}

/// The samples of all rounds together, in order of time.
fn moments(contestant: &ContestantFigures, phase: &str) -> Vec<Moment> {
    let mut samples: Vec<_> = contestant.samples(phase).collect();
    samples.sort_by(|a, b| a.at.total_cmp(&b.at));
    let at_a_time = samples.len().div_ceil(POINTS).max(1);
    let moment = |samples: &[&SampleFigures]| {
        let latencies = sorted(samples.iter().map(|sample| logarithm(sample)));
        let of = |percent| percentile(&latencies, percent);
        let at = statistics::median(samples.iter().map(|sample| sample.at))?;
        Some(Moment { at, p10: of(10)?, p50: of(50)?, p90: of(90)? })
    };
    samples.chunks(at_a_time).filter_map(moment).collect()
}

/// The share of the samples of all rounds up to a latency, by the latency's logarithm.
fn cumulative(contestant: &ContestantFigures, phase: &str) -> Vec<(f64, f64)> {
    let latencies = sorted(contestant.samples(phase).map(logarithm));
    let (all, step) = (latencies.len(), latencies.len().div_ceil(STEPS).max(1));
    let point = |(index, latency): (usize, &f64)| (*latency, count(index + 1) / count(all));
    let shown = |index: usize| index.is_multiple_of(step) || index + 1 == all;
    let start = latencies.first().map(|first| (*first, 0.0));
    start.into_iter().chain(latencies.iter().enumerate().filter(|(index, _)| shown(*index)).map(point)).collect()
}

#[cfg(test)]
mod tests;
