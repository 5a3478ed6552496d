// A window as a time line, drawn by gnuplot: run delay of each role, interrupts and switches of each of the VM's CPUs, second by second.
#pragma once

#include <string>

#include "launcher/watch/run.hpp"

namespace launcher::inline watch {

std::string plot_script(const Watched& watched, const std::string& name);  // what gnuplot is given
std::string drawn_by_gnuplot(const std::string& script);  // the same for any script that says "set terminal svg"
std::string picture_of(const Watched& watched,
                       const std::string& name);  // SVG. Throws std::runtime_error: no gnuplot, or what it said

}  // namespace launcher::watch
