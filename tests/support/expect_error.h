// EXPECT_ERROR(statement, code, sentence) expects that the statement throws spankey::Error with this exit code and a
// one-line sentence that matches (a GoogleMock matcher or the sentence itself).
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

#define EXPECT_ERROR(statement, expected_code, sentence)                                            \
  do {                                                                                              \
    try {                                                                                           \
      statement;                                                                                    \
      ADD_FAILURE() << "no error from " #statement;                                                 \
    } catch (const ::spankey::Error& caught) {                                                      \
      EXPECT_EQ(static_cast<int>(caught.code()), static_cast<int>(expected_code)) << caught.what(); \
      EXPECT_THAT(std::string(caught.what()), sentence);                                            \
      EXPECT_EQ(std::string(caught.what()).find('\n'), std::string::npos) << caught.what();         \
    }                                                                                               \
  } while (false)
