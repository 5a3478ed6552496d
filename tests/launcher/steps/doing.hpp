// Steps done and undone one at a time, on a fake host with nothing else going on.
#pragma once

#include <vector>

#include "launcher/steps/context.hpp"
#include "launcher/steps/step.hpp"
#include "tests/fakes/fake_host.hpp"
#include "tests/fakes/temp_dir.hpp"

struct Doing {
  fakes::TempDir dir;
  fakes::FakeHost host{dir.path()};
  launcher::Opened opened;
  bool others_have = false;
  std::vector<launcher::Undo> journal;  // as it would stand there

  void run(const launcher::Step& step) {
    launcher::PerformContext context{.host = host,
                                     .opened = opened,
                                     .journal = [this](const launcher::Undo& undo) { journal.push_back(undo); },
                                     .others_have = [this](const launcher::Undo&) { return others_have; },
                                     .uid = 1000u};
    for (const launcher::Undo& undo : launcher::precheck(step, context)) journal.push_back(undo);
    launcher::perform(step, context);
  }
  void run(const launcher::Undo& undo, bool done = true) {
    launcher::UndoContext context{
        .host = host, .done = done, .others_have = [this](const launcher::Undo&) { return others_have; }};
    launcher::perform(undo, context);
    opened.passed_over.insert(opened.passed_over.end(), context.passed_over.begin(), context.passed_over.end());
  }
  void undo(const launcher::Step& step) {
    for (const launcher::Undo& one : launcher::undo_of(step)) run(one);
  }
};
