# Language level, warnings, sanitizers, ccache: what every target of ours is compiled with.

# spankey_refuse(TEXT...): ends the configuration with one line, which CMake would fold into a paragraph.
function(spankey_refuse)
  list(JOIN ARGN "" text)
  message(NOTICE "spankey: ${text}")
  message(FATAL_ERROR "Not configured. The line before this one says why.")
endfunction()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
# CMake would let GCC 9 and 10 pass, whose libraries lack what is used here.
include(CheckCXXSourceCompiles)
check_cxx_source_compiles("
  #include <bit>
  #include <charconv>
  #include <concepts>
  #include <span>
  struct Named { int a, b; };
  template <std::integral T> bool even(T n) { return std::bit_cast<unsigned>(n) % 2 == 0; }
  int main(int argc, char** argv) {
    double number = 0;
    const std::span<char*> words(argv, static_cast<std::size_t>(argc));
    std::from_chars(words[0], words[0] + 1, number);
    return even(Named{.a = 1, .b = 2}.b) && number > 0;
  }" SPANKEY_KNOWS_CXX20)
if(NOT SPANKEY_KNOWS_CXX20)
  spankey_refuse("${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION} (${CMAKE_CXX_COMPILER}) does not compile C++20 "
    "with its library; accepted: GCC from 11 or clang from 14 (Debian g++, Fedora gcc-c++, conda cxx-compiler, Spack gcc, "
    "module load gcc), CXX=PROGRAM names one")
endif()
# There are no modules here, and a file that is scanned for them is left out of unity builds (GCC 14, clang 16).
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# What is installed finds MPI and HDF5 where it was linked, which need not be where the system looks.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Precompiled headers make ccache refuse to cache unless it is told that their time stamps may differ.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      ${CCACHE_PROGRAM})
endif()

add_library(spankey_options INTERFACE)
# Other compilers warn of other things, and these must not end a user's build.
option(SPANKEY_WERROR "Treat warnings in our own code as errors" OFF)
set(spankey_werror)
if(SPANKEY_WERROR)
  set(spankey_werror "-Werror;")
endif()
# The flags of CUDA sources are in CudaModule.cmake. No fused multiply-adds behind our back: results must not depend on
# what the compiler can prove.
target_compile_options(spankey_options INTERFACE
  "$<$<COMPILE_LANGUAGE:C,CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion;${spankey_werror}-ffp-contract=off>")
foreach(sanitizer IN LISTS SPANKEY_SANITIZE)
  target_compile_options(spankey_options INTERFACE -fsanitize=${sanitizer} -fno-omit-frame-pointer
    -fno-sanitize-recover=all
    -Wno-maybe-uninitialized)  # GCC sees uninitialised members in its own <regex> once it is instrumented
  target_link_options(spankey_options INTERFACE -fsanitize=${sanitizer})
endforeach()
