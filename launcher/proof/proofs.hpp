// The proofs, each of one area. Adding one is one function and one row in proofs.cpp.
#pragma once

#include <vector>

#include "launcher/proof/row.hpp"
#include "qmp/message.hpp"

namespace launcher::inline proof {

struct Subject;

std::vector<Row> prove_threads(const Subject& subject);
std::vector<Row> prove_limits(const Subject& subject);
std::vector<Row> prove_memory(const Subject& subject);
std::vector<Row> prove_images(const Subject& subject);
std::vector<Row> prove_virtio(const Subject& subject);
std::vector<Row> prove_networks(const Subject& subject);
std::vector<Row> prove_host(const Subject& subject);
std::vector<Row> prove_security(const Subject& subject);
std::vector<Row> prove_guest(const Subject& subject);
std::vector<Row> prove_guest_settings(const Subject& subject);

std::vector<Row> prove(const Subject& subject);  // all of them

// A thread's policy: "other", "batch", "FIFO 1"; nullopt: it has ended.
std::optional<std::string> scheduling_of(pid_t tid);

// What they will ask QEMU, as far as the record tells it.
std::vector<::qmp::Command> questions_of_memory(const Subject& subject);
std::vector<::qmp::Command> questions_of_virtio(const Subject& subject);
std::vector<::qmp::Command> questions_of_guest();
std::vector<::qmp::Command> questions(const Subject& subject);
// And what the look at the kernel left open.
std::vector<::qmp::Command> questions_of_images(const Subject& subject);

}  // namespace launcher::proof
