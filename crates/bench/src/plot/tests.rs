//! The picture as XML, its axes and its curves.

use super::*;
use crate::statistics::tests::{contestant, phase, report};

const NAMES: [&str; 4] = ["raw writes", "mock", r#"<controllers> & "Stages""#, "mock's"];

fn made_up() -> Report {
    let phases = |slow: f64| ["create", "reconcile", "delete"].map(|name| phase(name, slow, 5.0 * slow)).to_vec();
    let rounds = |slow: f64| vec![phases(slow), phases(slow * 1.1)];
    report((0_u32..).zip(NAMES).map(|(index, name)| contestant(name, rounds(4_f64.powf(index.into())))).collect())
}

/// The attributes of all elements with this name.
fn elements<'a>(svg: &'a str, name: &str) -> Vec<&'a str> {
    svg.split('<').filter_map(|element| element.strip_prefix(name)?.split('>').next()).collect()
}

/// The first error that a parser would find.
fn mistake(xml: &str) -> Option<String> {
    let mut open = Vec::new();
    let mut ended = false;
    for element in xml.strip_prefix('<')?.split('<') {
        let Some((tag, text)) = element.split_once('>') else { return Some(format!("no end: {element}")) };
        let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name = tag.split(' ').next()?;
        if ended {
            return Some(format!("after the root: {element}"));
        } else if let Some(name) = name.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Some(format!("not open: {name}"));
            }
        } else {
            let attributes = tag.strip_prefix(name)?;
            // Every other part is inside quotes.
            let outside = attributes.split('"').step_by(2);
            if attributes.matches('"').count() % 2 == 1
                || outside.clone().any(|name| !(name.is_empty() || name.starts_with(' ') && name.ends_with('=')))
            {
                return Some(format!("attributes: {tag}"));
            }
            if !closed {
                open.push(name);
            }
        }
        let entities = ["amp;", "lt;", "gt;", "quot;", "apos;"];
        let known = |rest: &str| entities.iter().any(|entity| rest.starts_with(entity));
        if !element.split('&').skip(1).all(known) || (open.is_empty() && !text.trim().is_empty()) {
            return Some(format!("text: {element}"));
        }
        ended = open.is_empty();
    }
    (!open.is_empty()).then(|| format!("still open: {open:?}"))
}

#[test]
fn picture_is_well_formed() {
    let svg = render(&made_up()).unwrap();
    assert!(svg.starts_with("<svg "), "{svg}");
    assert_eq!(mistake(&svg), None);
    assert_eq!(mistake(&render(&Report::default()).unwrap()), None);
    let broken = ["<a>", "<a></b>", "<a x=\"></a>", "<a>&</a>", "<a/><b/>", "<a b\"c\"/>"];
    assert!(broken.iter().all(|xml| mistake(xml).is_some()));
}

#[test]
fn names_are_escaped() {
    let svg = render(&made_up()).unwrap();
    for name in ["raw writes", "&lt;controllers&gt; &amp; &quot;Stages&quot;", "mock&apos;s"] {
        assert_eq!(svg.matches(&format!(">\n{name}\n</text>")).count(), 3, "{name} in each phase");
    }
    for phase in ["create", "reconcile", "delete"] {
        assert!(svg.contains(&format!(">\n{phase}\n</text>")), "{phase}");
    }
    assert!(elements(&svg, "text").iter().all(|text| text.contains(r#"font-family="sans-serif""#)));
}

#[test]
fn contestant_has_a_curve_in_each_panel() {
    let mut report = made_up();
    let curves = |report: &Report| -> Vec<usize> {
        let svg = render(report).unwrap();
        let lines = elements(&svg, "polyline");
        let of = |RGBColor(r, g, b): &RGBColor| {
            let stroke = format!("stroke=\"#{r:02X}{g:02X}{b:02X}\" stroke-width=\"3\"");
            lines.iter().filter(|line| line.contains(&stroke)).count()
        };
        (0..NAMES.len()).map(|index| of(&colour(index))).collect()
    };
    assert_eq!(curves(&report), [6, 6, 6, 6], "two panels, three phases");
    report.contestants[1].rounds.iter_mut().for_each(|round| round.phases.truncate(1));
    assert_eq!(curves(&report), [6, 2, 6, 6], "no curve without samples");
}

#[test]
fn same_report_gives_the_same_picture() {
    assert_eq!(render(&made_up()).unwrap(), render(&made_up()).unwrap());
}

#[test]
fn axis_has_few_labels_with_round_numbers() {
    let labels = |from: f64, to: f64| -> Vec<String> {
        Scale { from: from.log10(), to: to.log10() }.axis().labelled.iter().map(tick).collect()
    };
    assert_eq!(labels(15.0, 900.0), ["20 ms", "50 ms", "100 ms", "200 ms", "500 ms"]);
    assert_eq!(labels(15.0, 20_000.0), ["100 ms", "1 s", "10 s"]);
    assert_eq!(labels(0.15, 1.5), ["0.2 ms", "0.5 ms", "1 ms"]);
}

#[test]
fn distribution_ends_with_the_longest_latency() {
    let of = contestant("mock", vec![vec![phase("create", 1.0, 10.0)]]);
    let shares: Vec<_> = cumulative(&of, "create").iter().map(|(latency, share)| (tick(latency), *share)).collect();
    let expected = [("10 ms", 0.0), ("10 ms", 0.25), ("20 ms", 0.5), ("30 ms", 0.75), ("40 ms", 1.0)];
    assert_eq!(shares, expected.map(|(latency, share)| (latency.to_owned(), share)));
}

#[test]
fn line_over_time_consists_of_medians() {
    let mut phase = phase("create", 1.0, 10.0);
    let sample =
        |index: u32| SampleFigures { kind: "Worker".to_owned(), at: index.into(), latency: (index % 10 + 1).into() };
    // Ten at a time, out of order.
    phase.samples = (0..400).rev().map(sample).collect();
    let moments = moments(&contestant("mock", vec![vec![phase]]), "create");
    assert_eq!(moments.len(), POINTS);
    let second = &moments[1];
    assert_eq!([second.p10, second.p50, second.p90].map(|p| tick(&p)), ["1 ms", "5 ms", "9 ms"]);
    assert!((second.at - 14.5).abs() < 1e-9, "{} is not between the fifth and the sixth", second.at);
}
