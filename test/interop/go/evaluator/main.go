// Evaluates flags with LaunchDarkly's Go evaluator, set up as in ld-relay. One JSON object a line in and one out: see
// ../../../lib/evaluation/go-evaluator.ts.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldreason"
	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
	evaluation "github.com/launchdarkly/go-server-sdk-evaluation/v3"
	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldmodel"
)

type bigSegments struct {
	Status      ldreason.BigSegmentsStatus
	Memberships map[string]map[string]bool
	FailKeys    []string
}

type request struct {
	Flags       map[string]json.RawMessage
	Segments    map[string]json.RawMessage
	BigSegments *bigSegments
	Cases       []struct {
		Flag    string
		Context json.RawMessage
	}
	// Instead of an environment: which of the texts each pattern matches.
	Patterns []string
	Texts    []string
}

type answer struct {
	// Why the context is not valid; the rest is then missing.
	Invalid        string                     `json:"invalid,omitempty"`
	Missing        bool                       `json:"missing,omitempty"`
	Value          ldvalue.Value              `json:"value"`
	VariationIndex ldvalue.OptionalInt        `json:"variationIndex"`
	Reason         *ldreason.EvaluationReason `json:"reason,omitempty"`
	Prerequisites  []string                   `json:"prerequisites"`
	IsExperiment   bool                       `json:"isExperiment"`
}

type response struct {
	// Keys of items that cannot be parsed; they count as absent.
	Unreadable []string `json:"unreadable"`
	Answers    []answer `json:"answers"`
	// By pattern: null if the pattern is invalid, else a bool for each text.
	Matches [][]bool `json:"matches"`
}

type environment struct {
	flags    map[string]*ldmodel.FeatureFlag
	segments map[string]*ldmodel.Segment
}

func (e environment) GetFeatureFlag(key string) *ldmodel.FeatureFlag { return e.flags[key] }
func (e environment) GetSegment(key string) *ldmodel.Segment         { return e.segments[key] }

type membership map[string]bool

func (m membership) CheckMembership(ref string) ldvalue.OptionalBool {
	if included, ok := m[ref]; ok {
		return ldvalue.NewOptionalBool(included)
	}
	return ldvalue.OptionalBool{}
}

func (b *bigSegments) GetMembership(key string) (evaluation.BigSegmentMembership, ldreason.BigSegmentsStatus) {
	if slices.Contains(b.FailKeys, key) {
		return nil, ldreason.BigSegmentsStoreError
	}
	return membership(b.Memberships[key]), b.Status
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, os.ErrClosed) || len(line) == 0 {
			return
		}
		var r request
		check(json.Unmarshal(line, &r))
		check(out.Encode(respond(r)))
	}
}

func respond(r request) response {
	res := response{Unreadable: []string{}, Answers: []answer{}, Matches: [][]bool{}}
	e := environment{map[string]*ldmodel.FeatureFlag{}, map[string]*ldmodel.Segment{}}
	parser := ldmodel.NewJSONDataModelSerialization()
	for key, data := range r.Flags {
		if flag, err := parser.UnmarshalFeatureFlag(data); err != nil {
			res.Unreadable = append(res.Unreadable, "flag "+key)
		} else if !flag.Deleted {
			e.flags[key] = &flag
		}
	}
	for key, data := range r.Segments {
		if segment, err := parser.UnmarshalSegment(data); err != nil {
			res.Unreadable = append(res.Unreadable, "segment "+key)
		} else if !segment.Deleted {
			e.segments[key] = &segment
		}
	}
	options := []evaluation.EvaluatorOption{evaluation.EvaluatorOptionEnableSecondaryKey(true)}
	if r.BigSegments != nil {
		options = append(options, evaluation.EvaluatorOptionBigSegmentProvider(r.BigSegments))
	}
	evaluator := evaluation.NewEvaluatorWithOptions(e, options...)
	for _, c := range r.Cases {
		res.Answers = append(res.Answers, evaluate(evaluator, e.flags[c.Flag], c.Context))
	}
	for _, pattern := range r.Patterns {
		res.Matches = append(res.Matches, match(pattern, r.Texts))
	}
	return res
}

func evaluate(evaluator evaluation.Evaluator, flag *ldmodel.FeatureFlag, contextData []byte) answer {
	var context ldcontext.Context
	if err := json.Unmarshal(contextData, &context); err != nil {
		return answer{Invalid: err.Error()}
	}
	if flag == nil {
		return answer{Missing: true}
	}
	prerequisites := []string{}
	result := evaluator.Evaluate(flag, context, func(event evaluation.PrerequisiteFlagEvent) {
		if event.TargetFlagKey == flag.Key {
			prerequisites = append(prerequisites, event.PrerequisiteFlag.Key)
		}
	})
	return answer{
		Value:          result.Detail.Value,
		VariationIndex: result.Detail.VariationIndex,
		Reason:         &result.Detail.Reason,
		Prerequisites:  prerequisites,
		IsExperiment:   result.IsExperiment,
	}
}

func match(pattern string, texts []string) []bool {
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return nil
	}
	matches := make([]bool, len(texts))
	for i, text := range texts {
		matches[i] = compiled.MatchString(text)
	}
	return matches
}
