// ThreadChoice: how many threads a round of repeated work gets, found by trying.
#pragma once

namespace nncore {

/// More threads are not always faster: processors that share no cache pay for every line that one has read
/// and another writes, and a processor may be busy with something else. So now and then some rounds are
/// timed, and some with half or twice the threads; whatever is faster is kept. Results do not depend on it.
class ThreadChoice {
 public:
  /// Threads for the next round, of at most `most`. Starts anew where that has changed.
  int next(int most);
  /// Whether the round is to be timed.
  bool is_timed() const { return stage_ != Stage::resting; }
  /// A round has ended. `seconds` counts where it was to be timed; rounds are compared by seconds / size.
  void record(double seconds, double size);

 private:
  enum class Stage { resting, timing_chosen, timing_candidate };

  void rest(int rounds);
  void begin_trial();

  int most_ = 0, chosen_ = 0, candidate_ = 0;
  bool tries_more_ = true;  ///< in the last trial
  Stage stage_ = Stage::resting;
  int left_ = 0;  ///< rounds of the stage
  int rest_ = 0;  ///< rounds between trials
  double chosen_time_ = 0.0, candidate_time_ = 0.0;
};

}  // namespace nncore
