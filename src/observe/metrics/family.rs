//! Metric families under construction, and the page they are written to one by one, so that no more than one family is
//! held as objects at a time.

use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::model::histogram::{BOUNDS, HistogramSum};

/// Labels of a series, in the order they are shown.
pub(super) type Labels<'l> = &'l [(&'static str, &'l str)];

/// The text so far.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// Writes a family; one without series leaves no trace.
    pub(super) fn add(&mut self, family: Family) -> Result<(), prometheus::Error> {
        let Family { mut head, series } = family;
        if series.is_empty() {
            return Ok(());
        }
        head.set_metric(series);
        TextEncoder::new().encode_utf8(&[head], &mut self.text)
    }

    /// The finished page.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// One family and its series.
#[derive(Debug)]
pub(super) struct Family {
    head: MetricFamily,
    series: Vec<Metric>,
}

impl Family {
    /// A family of numbers that only rise. The name ends in `_total`.
    pub(super) fn counter(name: &str, help: &str) -> Self {
        Self::new(MetricType::COUNTER, name, help)
    }

    /// A family of numbers that rise and fall.
    pub(super) fn gauge(name: &str, help: &str) -> Self {
        Self::new(MetricType::GAUGE, name, help)
    }

    /// A family of distributions of seconds.
    pub(super) fn histogram(name: &str, help: &str) -> Self {
        Self::new(MetricType::HISTOGRAM, name, help)
    }

    fn new(kind: MetricType, name: &str, help: &str) -> Self {
        let mut head = MetricFamily::default();
        head.set_name(name.to_owned());
        head.set_help(help.to_owned());
        head.set_field_type(kind);
        Self { head, series: Vec::new() }
    }

    /// Adds a series of a counter or a gauge.
    pub(super) fn add(&mut self, labels: Labels<'_>, value: f64) {
        let mut metric = Metric::from_label(pairs(labels));
        match self.head.get_field_type() {
            MetricType::COUNTER => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            _ => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.series.push(metric);
    }

    /// Adds a series of a whole number. Above 2^53 it is rounded, as every reader of the format does.
    pub(super) fn count(&mut self, labels: Labels<'_>, value: u64) {
        self.add(labels, value as f64);
    }

    /// Adds a series of a histogram.
    pub(super) fn distribution(&mut self, labels: Labels<'_>, sum: &HistogramSum) {
        let mut below = 0;
        let buckets = BOUNDS.iter().zip(&sum.buckets).map(|(bound, count)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(sum.count());
        histogram.set_sample_sum(sum.sum_seconds);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.series.push(metric);
    }
}

fn pairs(labels: Labels<'_>) -> Vec<LabelPair> {
    let pair = |(name, value): &(&'static str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}
