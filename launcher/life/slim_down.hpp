// Gives memory back before the long wait. The rule: nothing that was written is touched.
#pragma once

namespace launcher::inline life {

// Gives back what the launch needed and waiting does not: free heap, and the program text that was mapped in (the page
// cache still has it). A waiting vmrun then weighs about a megabyte.
void slim_down();

}  // namespace launcher::life
