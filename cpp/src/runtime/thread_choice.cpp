#include "runtime/thread_choice.hpp"

#include <algorithm>
#include <limits>

namespace nncore {
namespace {

/// Rounds between trials, doubled each time that nothing changes. A trial times kTimedRounds rounds with the
/// chosen number of threads, and as many with the candidate, after one that moves the data to other caches.
constexpr int kShortestRest = 128;
constexpr int kLongestRest = 512;
constexpr int kTimedRounds = 2;

/// Another number of threads must take less than this fraction of the time.
constexpr double kGain = 0.95;

/// Longer rounds (in seconds) use all threads: contention costs little beside their work, and users would
/// notice a trial.
constexpr double kLongRound = 2e-3;

}  // namespace

int ThreadChoice::next(int most) {
  if (most != most_) {
    most_ = chosen_ = most;
    rest(kShortestRest);
  }
  return stage_ == Stage::timing_candidate ? candidate_ : chosen_;
}

void ThreadChoice::record(double seconds, double size) {
  --left_;
  if (stage_ == Stage::resting) {
    if (left_ <= 0) begin_trial();
  } else if (stage_ == Stage::timing_chosen) {
    chosen_time_ = std::min(chosen_time_, seconds / size);
    if (left_ > 0) return;
    if (chosen_time_ * size > kLongRound) {
      chosen_ = most_;
      return rest(std::min(2 * rest_, kLongestRest));
    }
    stage_ = Stage::timing_candidate;
    left_ = kTimedRounds + 1;
  } else {
    if (left_ < kTimedRounds) candidate_time_ = std::min(candidate_time_, seconds / size);
    if (left_ > 0) return;
    const bool is_better = candidate_time_ < kGain * chosen_time_;
    if (is_better) {
      chosen_ = candidate_;
      tries_more_ = !tries_more_;  // begin_trial flips it again: on in the same direction
    }
    rest(is_better ? kShortestRest : std::min(2 * rest_, kLongestRest));
  }
}

void ThreadChoice::rest(int rounds) {
  stage_ = Stage::resting;
  left_ = rest_ = rounds;
}

void ThreadChoice::begin_trial() {
  tries_more_ = !tries_more_;
  const auto neighbour = [this] {
    return tries_more_ ? std::min(2 * chosen_, most_) : std::max(chosen_ / 2, 1);
  };
  candidate_ = neighbour();
  if (candidate_ == chosen_) {
    tries_more_ = !tries_more_;
    candidate_ = neighbour();
  }
  if (candidate_ == chosen_) return rest(kLongestRest);  // there is only one thread
  stage_ = Stage::timing_chosen;
  left_ = kTimedRounds;
  chosen_time_ = candidate_time_ = std::numeric_limits<double>::infinity();
}

}  // namespace nncore
