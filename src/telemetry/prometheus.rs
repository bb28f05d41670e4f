//! Metrics in Prometheus' text format, version 0.0.4, named as OpenTelemetry's compatibility rules
//! say: dots become underscores, units are spelled out, a counter ends in `_total`.

use std::fmt::{self, Write as _};

use super::{
    cells::Distribution,
    instruments::{Instrument, Kind},
    reading::{Attribute, Metric, Point, Value},
};

/// The content type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text, and all that the process is: resource attributes, told as `target_info`.
pub fn text(resource: &[Attribute], metrics: &[Metric]) -> String {
    let mut text = Text(String::with_capacity(32 * 1_024));
    // Writing to memory doesn't fail.
    let _ = text.write_target(resource);
    for metric in metrics {
        let _ = text.write_metric(metric);
    }
    text.0
}

/// The name of an instrument's metric.
pub fn name_of(instrument: &Instrument) -> String {
    let mut name = underscored(instrument.name);
    let unit = match (instrument.unit, instrument.kind) {
        ("s", _) => "seconds",
        ("By", _) => "bytes",
        ("1", Kind::Gauge) => "ratio",
        // What stands in braces says what is counted, and is no unit.
        _ => "",
    };
    if !unit.is_empty() {
        name.push('_');
        name.push_str(unit);
    }
    if instrument.kind == Kind::Counter {
        name.push_str("_total");
    }
    name
}

fn underscored(name: &str) -> String {
    name.replace(['.', '-'], "_")
}

struct Text(String);

impl Text {
    fn write_target(&mut self, resource: &[Attribute]) -> fmt::Result {
        self.write_head("target_info", "What this process is.", "gauge")?;
        self.write_sample("target_info", resource, None, 1)
    }

    fn write_metric(&mut self, metric: &Metric) -> fmt::Result {
        let Metric { instrument, points } = metric;
        let name = name_of(instrument);
        let kind = match instrument.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.write_head(&name, instrument.description, kind)?;
        for Point { attributes, value } in points {
            match value {
                Value::Whole(number) => self.write_sample(&name, attributes, None, number)?,
                Value::Float(number) => self.write_sample(&name, attributes, None, number)?,
                Value::Distribution(distribution) => {
                    self.write_histogram(&name, attributes, distribution)?;
                }
            }
        }
        Ok(())
    }

    fn write_head(&mut self, name: &str, description: &str, kind: &str) -> fmt::Result {
        let description = description.replace('\\', "\\\\").replace('\n', "\\n");
        writeln!(self.0, "# HELP {name} {description}\n# TYPE {name} {kind}")
    }

    fn write_histogram(
        &mut self,
        name: &str,
        attributes: &[Attribute],
        distribution: &Distribution,
    ) -> fmt::Result {
        let bucket = format!("{name}_bucket");
        let mut so_far = 0;
        for (count, bound) in distribution.counts.iter().zip(distribution.bounds_in_units()) {
            so_far += count;
            self.write_sample(&bucket, attributes, Some(&bound.to_string()), so_far)?;
        }
        // Read from the same counts, so that no bucket exceeds it.
        let count = distribution.count();
        self.write_sample(&bucket, attributes, Some("+Inf"), count)?;
        let sum = distribution.sum_in_units();
        self.write_sample(&format!("{name}_sum"), attributes, None, sum)?;
        self.write_sample(&format!("{name}_count"), attributes, None, count)
    }

    fn write_sample(
        &mut self,
        name: &str,
        attributes: &[Attribute],
        bound: Option<&str>,
        value: impl fmt::Display,
    ) -> fmt::Result {
        self.0.write_str(name)?;
        let mut separator = '{';
        let attributes = attributes.iter().map(|(name, value)| (underscored(name), &**value));
        for (name, value) in attributes.chain(bound.map(|bound| ("le".to_owned(), bound))) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(self.0, "{separator}{name}=\"{value}\"")?;
            separator = ',';
        }
        if separator == ',' {
            self.0.push('}');
        }
        writeln!(self.0, " {value}")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::telemetry::cells::{BATCHES, Histogram};

    const fn instrument(name: &'static str, kind: Kind, unit: &'static str) -> Instrument {
        Instrument { name, kind, unit, description: "A\nb\\c.", attributes: &[] }
    }
    static CALLS: Instrument = instrument("aap.calls", Kind::Counter, "{call}");
    static TIME: Instrument = instrument("process.cpu.time", Kind::Counter, "s");
    static FREE: Instrument = instrument("aap.disk.free", Kind::Gauge, "1");
    static SIZES: Instrument = instrument("aap.sizes", Kind::Histogram, "By");

    #[test]
    fn what_the_instruments_say_is_written_as_prometheus_reads_it() {
        let histogram = Histogram::new(&BATCHES);
        for number in [1, 3, 9_000] {
            histogram.record(number);
        }
        let method: Vec<Attribute> = vec![("rpc.method", "a\"b\\c\n".into()), ("x", "y".into())];
        let metrics = [
            Metric::by(&CALLS, [(method, 5_u64), (vec![], 7)]),
            Metric::one(&TIME, 0.25),
            Metric::one(&FREE, true),
            Metric::one(&SIZES, histogram.read()),
        ];
        let resource = [("service.name", "aap".into())];
        expect![[r#"
            # HELP target_info What this process is.
            # TYPE target_info gauge
            target_info{service_name="aap"} 1
            # HELP aap_calls_total A\nb\\c.
            # TYPE aap_calls_total counter
            aap_calls_total{rpc_method="a\"b\\c\n",x="y"} 5
            aap_calls_total 7
            # HELP process_cpu_time_seconds_total A\nb\\c.
            # TYPE process_cpu_time_seconds_total counter
            process_cpu_time_seconds_total 0.25
            # HELP aap_disk_free_ratio A\nb\\c.
            # TYPE aap_disk_free_ratio gauge
            aap_disk_free_ratio 1
            # HELP aap_sizes_bytes A\nb\\c.
            # TYPE aap_sizes_bytes histogram
            aap_sizes_bytes_bucket{le="1"} 1
            aap_sizes_bytes_bucket{le="2"} 1
            aap_sizes_bytes_bucket{le="5"} 2
            aap_sizes_bytes_bucket{le="10"} 2
            aap_sizes_bytes_bucket{le="25"} 2
            aap_sizes_bytes_bucket{le="50"} 2
            aap_sizes_bytes_bucket{le="100"} 2
            aap_sizes_bytes_bucket{le="250"} 2
            aap_sizes_bytes_bucket{le="500"} 2
            aap_sizes_bytes_bucket{le="1000"} 2
            aap_sizes_bytes_bucket{le="2500"} 2
            aap_sizes_bytes_bucket{le="5000"} 2
            aap_sizes_bytes_bucket{le="+Inf"} 3
            aap_sizes_bytes_sum 9004
            aap_sizes_bytes_count 3
        "#]]
        .assert_eq(&text(&resource, &metrics));
    }
}
