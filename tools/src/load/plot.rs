//! A run as a picture (SVG): memory, open connections and latency over time, one below the other.
//!
//! It measures nothing. What there is nothing to say about has no panel.

use plotters::prelude::*;

use super::Error;
use super::timeline::Sample;

const WIDTH: u32 = 900;
const PANEL_HEIGHT: u32 = 260;

/// One panel: its caption, and its lines with their names.
struct Panel {
    caption: &'static str,
    lines: Vec<(&'static str, Vec<(f64, f64)>)>,
}

pub(super) fn svg(title: &str, samples: &[Sample]) -> Result<String, Error> {
    let panels = panels(samples);
    let mut text = String::new();
    let count = u32::try_from(panels.len()).unwrap_or(u32::MAX);
    let drawn = draw(&mut text, title, &panels, count);
    drawn.map_err(|error| Error::Plot(error.to_string()))?;
    Ok(text)
}

fn panels(samples: &[Sample]) -> Vec<Panel> {
    let line = |value: fn(&Sample) -> Option<f64>| -> Vec<(f64, f64)> {
        let points = samples.iter();
        points
            .filter_map(|sample| value(sample).map(|value| (sample.seconds, value)))
            .collect()
    };
    let panels = [
        Panel {
            caption: "resident memory of the watched process, MB",
            lines: vec![("memory", line(|s| s.rss_bytes.map(|b| b as f64 / 1e6)))],
        },
        Panel {
            caption: "open connections",
            lines: vec![("open", line(|s| Some(f64::from(s.open))))],
        },
        Panel {
            caption: "latency, ms",
            lines: vec![
                ("p50", line(|s| s.latency_us_p50.map(|us| us as f64 / 1e3))),
                ("p99", line(|s| s.latency_us_p99.map(|us| us as f64 / 1e3))),
            ],
        },
    ];
    let has_points = |panel: &Panel| panel.lines.iter().any(|(_, points)| !points.is_empty());
    panels.into_iter().filter(has_points).collect()
}

fn draw(
    text: &mut String,
    title: &str,
    panels: &[Panel],
    count: u32,
) -> Result<(), Box<dyn std::error::Error>> {
    let size = (WIDTH, PANEL_HEIGHT * count + 40);
    let root = SVGBackend::with_string(text, size).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(title, ("sans-serif", 20))?;
    let areas = root.split_evenly((panels.len().max(1), 1));
    for (panel, area) in panels.iter().zip(&areas) {
        let points = || panel.lines.iter().flat_map(|(_, points)| points);
        let end = points().map(|point| point.0).fold(1.0, f64::max);
        // A tenth of air above, and a height even where all values are 0.
        let top = points().map(|point| point.1).fold(0.0, f64::max) * 1.1;
        let top = if top > 0.0 { top } else { 1.0 };
        let mut chart = ChartBuilder::on(area)
            .caption(panel.caption, ("sans-serif", 15))
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..end, 0.0..top)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .y_label_formatter(&|value| format!("{value}"))
            .x_label_formatter(&|seconds| format!("{seconds:.0} s"))
            .draw()?;
        for (at, (name, points)) in panel.lines.iter().enumerate() {
            let color = Palette99::pick(at).stroke_width(2);
            chart
                .draw_series(LineSeries::new(points.iter().copied(), color))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], color));
        }
        if panel.lines.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.2))
                .draw()?;
        }
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: u32, rss_bytes: Option<u64>, latency: Option<u64>) -> Sample {
        Sample {
            seconds: f64::from(seconds),
            open: seconds * 10,
            rss_bytes,
            latency_us_p50: latency,
            latency_us_p99: latency.map(|latency| latency * 3),
        }
    }

    #[test]
    fn there_is_a_panel_for_what_was_measured_and_none_for_the_rest() {
        let all: Vec<_> = (0..5)
            .map(|second| sample(second, Some(1 << 20), Some(90)))
            .collect();
        let picture = svg("9 connections", &all).unwrap();
        assert!(picture.starts_with("<svg ") && picture.trim_end().ends_with("</svg>"));
        for words in ["9 connections", "memory", "open connections", "p50", "p99"] {
            assert!(picture.contains(words), "{words}");
        }
        let bare = svg("none", &[sample(1, None, None)]).unwrap();
        assert!(bare.contains("open connections") && !bare.contains("latency"));
        svg("nothing at all", &[]).unwrap();
    }
}
