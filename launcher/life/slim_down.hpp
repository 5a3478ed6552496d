// Gives memory back before the long wait. The rule: nothing that was written is touched.
#pragma once

#include <chrono>

namespace launcher::inline life {

// Gives back what the launch needed and waiting does not: free heap, and the program text that was mapped in (the page
// cache still has it, and gives 64K of it for each page that is touched). A waiting vmrun then weighs about a megabyte.
void slim_down();

// Slims before a wait that may be long, and not at each of a chatty guest's lines: once a second at most.
class Slimming {
 public:
  int before_wait(int milliseconds);  // poll(2)'s timeout, which it returns

 private:
  std::chrono::steady_clock::time_point next_;
};

}  // namespace launcher::life
