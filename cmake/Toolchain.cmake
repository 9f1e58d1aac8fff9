# Language level, warnings, sanitizers, ccache: what every target of ours is compiled with.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
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
# The flags of CUDA sources are in CudaModule.cmake. No fused multiply-adds behind our back: results must not depend on
# what the compiler can prove.
target_compile_options(spankey_options INTERFACE
  "$<$<COMPILE_LANGUAGE:C,CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wconversion;-Werror;-ffp-contract=off>")
foreach(sanitizer IN LISTS SPANKEY_SANITIZE)
  target_compile_options(spankey_options INTERFACE -fsanitize=${sanitizer} -fno-omit-frame-pointer
    -fno-sanitize-recover=all
    -Wno-maybe-uninitialized)  # GCC sees uninitialised members in its own <regex> once it is instrumented
  target_link_options(spankey_options INTERFACE -fsanitize=${sanitizer})
endforeach()
