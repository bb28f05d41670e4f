//! Draws lines over a logarithmic axis into an SVG file.

#![allow(dead_code, unreachable_pub, reason = "bench code: each bench uses a part of it")]

use plotters::prelude::*;

#[derive(Debug)]
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

#[derive(Debug)]
pub struct Plot {
    pub title: &'static str,
    pub horizontal: &'static str,
    pub vertical: &'static str,
    pub lines: Vec<Line>,
}

const COLORS: [RGBColor; 6] = [
    RGBColor(27, 94, 165),
    RGBColor(200, 80, 20),
    RGBColor(40, 130, 70),
    RGBColor(120, 60, 140),
    RGBColor(110, 110, 110),
    RGBColor(170, 130, 0),
];

impl Plot {
    pub fn draw(&self, path: &str) {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let least = points().map(|(x, _)| x).fold(f64::INFINITY, f64::min);
        let most = points().map(|(x, _)| x).fold(0.0, f64::max);
        let highest = points().map(|(_, y)| y).fold(0.0, f64::max) * 1.15;
        let root = SVGBackend::new(path, (900, 540)).into_drawing_area();
        root.fill(&WHITE).unwrap();
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, ("sans-serif", 22))
            .margin(16)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d((least..most).log_scale(), 0.0..highest)
            .unwrap();
        chart
            .configure_mesh()
            .x_desc(self.horizontal)
            .y_desc(self.vertical)
            .label_style(("sans-serif", 14))
            .draw()
            .unwrap();
        for (line, color) in self.lines.iter().zip(COLORS) {
            let points = line.points.iter().copied();
            chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(3))
                .unwrap()
                .label(line.name.as_str())
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 24, y)], color.stroke_width(3))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 14))
            .draw()
            .unwrap();
        root.present().unwrap();
    }
}
