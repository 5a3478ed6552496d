// The doors through which words leave for a person or a program. The rule: nothing else in launcher/ writes to stdout or stderr
// (scripts/check looks), so whatever a guest, QEMU, a file or a user wrote passes printable() here and cannot steer a terminal.
#pragma once

#include <string>
#include <string_view>

#include "launcher/text/problem.hpp"

namespace launcher::inline text {

class TomlDocument;

// Text of several lines as a terminal may have it: '\n' and '\t' stay, what printable() escapes is escaped.
std::string printable_lines(std::string_view text);
// One message: further lines are indented, so that none of them looks like a message of its own.
std::string printable_message(std::string_view text);
// JSON that is serialized already, with the same characters as its own escapes: it stays the same value.
std::string printable_json(std::string_view json);

// Before anything is opened: where a caller has closed 0, 1 or 2, a file of ours or an image would be it, and what is said be written
// there. /dev/null is, opened to read, so that what is printed counts as lost.
void fill_standard_streams();
// What print() and hand_on() could not write to stdout, as a message; "": it took all. Not of what never_wait_for_readers() drops.
std::string lost_words();

// From here on nothing below waits for a reader longer than a moment; what is not taken is dropped, and from then on all that
// is not taken at once. For whoever holds a VM: a pipe that nobody reads must hold neither its pages nor its signals.
void never_wait_for_readers();

void print(std::string_view text);                                                   // stdout
void print_json_text(std::string_view json);                                         // stdout, and a line's end
void say(std::string_view text);                                                     // stderr: "vmrun: text\n"
void complain(std::string_view text);                                                // stderr, as it stands
void complain(const Problems& problems, const TomlDocument* document, bool colour);  // stderr
void redraw(std::string_view page);  // stdout, a terminal's: in place of what stands there
// A program's own output, as it is; where it reaches a terminal, with what could steer that escaped.
void hand_on(int fd, std::string_view bytes);
void progress(std::string_view text);  // stderr, a terminal's: the line that the next one overwrites; "" wipes it

}  // namespace launcher::text
