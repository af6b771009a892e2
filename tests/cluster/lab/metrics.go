package lab

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics is the sum of all counters and gauges with a name and, among others,
// the labels given. No such series is an error.
func (s *Sluice) Metrics(name string, labels map[string]string) (float64, error) {
	series, err := s.series(name, labels)
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, one := range series {
		// One of the three is there; the getters of the others say 0.
		sum += one.GetCounter().GetValue() + one.GetGauge().GetValue() + one.GetUntyped().GetValue()
	}
	return sum, nil
}

// Histogram is the cumulative buckets of a histogram: upper bound to count.
type Histogram map[float64]uint64

// Histogram reads a histogram, summed over its series.
func (s *Sluice) Histogram(name string, labels map[string]string) (Histogram, error) {
	series, err := s.series(name, labels)
	if err != nil {
		return nil, err
	}
	sum := Histogram{}
	for _, one := range series {
		for _, bucket := range one.GetHistogram().GetBucket() {
			sum[bucket.GetUpperBound()] += bucket.GetCumulativeCount()
		}
	}
	return sum, nil
}

// Since is the histogram of what was observed after earlier was read.
func (h Histogram) Since(earlier Histogram) Histogram {
	delta := Histogram{}
	for bound, count := range h {
		delta[bound] = count - earlier[bound]
	}
	return delta
}

// Count is the number of observations.
func (h Histogram) Count() uint64 { return h[math.Inf(1)] }

// Quantile is as Prometheus computes it: linear inside the bucket, and the
// highest finite bound for what lies above it.
func (h Histogram) Quantile(q float64) float64 {
	rank := q * float64(h.Count())
	var lower, below float64
	for _, bound := range slices.Sorted(maps.Keys(h)) {
		count := float64(h[bound])
		if math.IsInf(bound, 1) {
			break
		}
		if count >= rank && count > below {
			return lower + (bound-lower)*(rank-below)/(count-below)
		}
		lower, below = bound, count
	}
	return lower
}

func (s *Sluice) series(name string, labels map[string]string) ([]*dto.Metric, error) {
	text, err := s.read("/metrics")
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("/metrics: %w", err)
	}
	var found []*dto.Metric
	for _, one := range families[name].GetMetric() {
		if hasLabels(one, labels) {
			found = append(found, one)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no series %s%v", name, labels)
	}
	return found, nil
}

func hasLabels(series *dto.Metric, wanted map[string]string) bool {
	have := map[string]string{}
	for _, pair := range series.GetLabel() {
		have[pair.GetName()] = pair.GetValue()
	}
	for name, value := range wanted {
		if have[name] != value {
			return false
		}
	}
	return true
}
