// ThreadChoice: finds by trial how many threads a round of repeated work should use.
#pragma once

namespace nncore {

/// More threads are not always faster: processors that share no cache pay for every cache line that one has
/// read and another writes, and a processor may be busy with other work. So now and then it times some
/// rounds, and some with half or twice the threads, and keeps what is faster. Results do not depend on it.
class ThreadChoice {
 public:
  /// The number of threads for the next round, at most `most`. Starts over if `most` has changed.
  int next(int most);
  /// Whether the round must be timed.
  bool is_timed() const { return stage_ != Stage::resting; }
  /// Records the end of a round. `seconds` matters only if the round was timed; rounds are compared by
  /// seconds / size.
  void record(double seconds, double size);

 private:
  enum class Stage { resting, timing_chosen, timing_candidate };

  void rest(int rounds);
  void begin_trial();

  int most_ = 0, chosen_ = 0, candidate_ = 0;
  bool tries_more_ = true;  ///< in the last trial
  Stage stage_ = Stage::resting;
  int left_ = 0;  ///< rounds left in the stage
  int rest_ = 0;  ///< rounds between trials
  double chosen_time_ = 0.0, candidate_time_ = 0.0;
};

}  // namespace nncore
