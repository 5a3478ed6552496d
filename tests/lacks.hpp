// A test case that this machine cannot do says so in a line that scripts/test counts as skipped: `if (lacks(...)) return;`.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>
#include <string>

// there: what the case needs; what: its name. Of the machine's nature (root, a device, a kernel's file).
inline bool lacks(bool there, const std::string& what) {
  if (!there)
    std::cout << "skipped: " << doctest::getContextOptions()->currentTest->m_name << ": needs " << what << std::endl;
  return !there;
}

// Of what scripts/test gets first: where CI is set it has to be there.
inline bool lacks_tool(bool there, const std::string& what) {
  if (!there && std::getenv("CI") != nullptr) FAIL_CHECK("CI is set, and there is no " << what);
  return lacks(there, what);
}
