// Gives memory back before the long wait. The rule: nothing that was written is touched.
#pragma once

namespace launcher::inline life {

// Gives back what the launch needed and waiting does not: free heap, and the program text that was mapped in (the page
// cache still has it, and gives 64K of it for each page that is touched). A waiting vmrun then weighs about a megabyte.
void slim_down();

// Slims once nothing has happened for a moment: not at each of a chatty guest's lines, and not between the signal that ends a
// guest and its end, when all of the program is about to be wanted again.
class Slimming {
 public:
  int before_wait(int milliseconds);  // poll(2)'s timeout: the one given, or that moment
  int after_wait(int ready);          // what poll(2) returned, which it returns

 private:
  bool slim_ = false, for_a_moment_ = false;
};

}  // namespace launcher::life
