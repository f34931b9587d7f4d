//! The look of pictures.

use std::ops::Range;

use plotters::chart::ChartContext;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Why a picture cannot be drawn.
pub type DrawingError = DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>;

/// The colour of text and lines.
pub const INK: RGBColor = RGBColor(34, 34, 34);
/// The colour of text that matters less.
pub const PALE_INK: RGBColor = RGBColor(102, 102, 102);
const GRID: RGBColor = RGBColor(214, 214, 214);
const FINE_GRID: RGBColor = RGBColor(238, 238, 238);

/// Okabe and Ito's colours, which colour-blind people can tell apart, without those that are too pale for a line. The
/// first is black.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 0, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

/// The area of a picture, or a part of it.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A panel with axes.
pub type Panel<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

/// The colour of the series of this index. The first is black. After the last colour, the first one follows.
#[must_use]
pub fn colour(index: usize) -> RGBColor {
    COLOURS.iter().cycle().nth(index).copied().unwrap_or(INK)
}

/// A style for text of a size in pixels. plotters divides the size of its font by 1.24.
#[must_use]
pub fn text(size: f64, style: FontStyle, colour: RGBColor) -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::SansSerif, size * 1.24, style);
    TextStyle { font, color: colour.to_backend_color(), pos: Pos::new(HPos::Left, VPos::Bottom) }
}

/// A linear axis with given lines.
pub struct Axis {
    /// The values at both ends.
    pub range: Range<f64>,
    /// The values with a line and a label.
    pub labelled: Vec<f64>,
    /// The values with a fine line.
    pub fine: Vec<f64>,
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { self.fine.clone() } else { self.labelled.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// Draws the lines of a panel, and labels at both axes.
///
/// # Errors
/// The panel is too small for labels.
pub fn mesh<'b, X, Y>(
    panel: &mut Panel<'_, 'b, X, Y>,
    x: &dyn Fn(&f64) -> String,
    y: &dyn Fn(&f64) -> String,
) -> Result<(), DrawingError>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let labels = text(14.0, FontStyle::Normal, INK);
    panel
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(FINE_GRID)
        .x_max_light_lines(1)
        .axis_style(PALE_INK)
        .label_style(labels)
        .x_label_formatter(x)
        .y_label_formatter(y)
        .draw()
}
