// The words of kernel files: when two texts say the same, and CPUs as a file's name says they are written. Pure.
#pragma once

#include <string>
#include <string_view>

#include "topology/cpu_set.hpp"

namespace launcher::inline steps {

// What a file reads, as it would be written: the chosen word of "[mq-deadline] none", single spaces.
std::string value_of(std::string_view text);
// Whether the file holds the same with both: also "00ff" and "ff" of a mask, "0-1" and "0,1" of a list, Y and 1 of a switch.
bool same_value(std::string_view path, std::string_view a, std::string_view b);
// Whether one of the words of a control's text ("L3:0=0f0;1=0f0", "cpuset cpu io") is `wanted`.
bool has_word(std::string_view text, std::string_view wanted);
// The CPUs of a mask's text, hexadecimal or a list as the file's name says; empty where it is neither.
topology::CpuSet mask_of(std::string_view path, std::string_view text);
std::string mask_text(std::string_view path, const topology::CpuSet& cpus);

}  // namespace launcher::steps
