"""What a TA author needs: headers, runtime library, linker script, build driver, client library."""
